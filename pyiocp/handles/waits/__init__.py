"""What is waited for on a port, rather than read or written.

waitable      any object that can be signalled; object_wait is how Windows waits for it
process       the end of a process
event         an event of the system
timer         a timer of the system, once or again and again
job           a group of processes; job_message is what it tells
"""
