"""Named pipes on a port.

pipe              one end, and its wait for a client; pipe_operations reads and writes on it
pipe_server       a name that clients can connect to
pipe_connect      opens a client's end when the server is busy
security          who may open a pipe
"""
