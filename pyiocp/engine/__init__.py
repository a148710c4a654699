"""Ring 2, the way of a packet, in the order in which it happens.

kernel          the one seam to the system: ring 1's functions, or what stands for them
home            what an operation and a handle ask of the queue that they belong to
packet          what the in-flight table holds: an OVERLAPPED, and how its end is told
operation       one overlapped request: submitted, and then completed, pending or failed
in_flight       the table that owns what the kernel may write to
queue           what there is: what is in flight, what has ended, who waits
poller, batch   one thread asks the kernel, and finds the operations of the packets
completion      what a user gets for each operation
inbox           entries that one thread at a time works off: a session's turn
closing         cancels, drains, and only then closes

endless_calls   a system call and its error code, with nothing in between
late_packets    packets without an OVERLAPPED, and those of which nobody knows if they come
timers          functions to call at a time
waker           has a sleeping thread return
signals         has the main thread return when a signal comes
interrupt       what Ctrl-C does inside rings 2 and 3
"""
