"""Objects that are waited for on a port, rather than read or written.

waitable      any object that can be signalled; object_wait is how the system waits for it
process       the end of a process
event         an event of the system
timer         a timer of the system, once or at intervals
job           a group of processes; job_message is what it reports
"""
