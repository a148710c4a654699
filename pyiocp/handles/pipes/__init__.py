"""Named pipes on a port.

pipe_server       a name that clients can connect to; pipe_accept waits for one
pipe              one end; pipe_operations reads and writes on it
pipe_connect      waits until a busy server has time
security          who may open a pipe
"""
