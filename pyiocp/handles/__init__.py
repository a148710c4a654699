"""Ring 2: the kinds of handle, a folder for each family. What they share is here.

handle        the base: joining a port, closing, giving back
association   what the system knows about a handle: its type, how it was opened, its port
adopting      puts a handle that the caller already has on a port

sockets       streams (TCP, AF_UNIX) and datagrams (UDP)
files         files, and whole files in one call
pipes         named pipes, both ends
readiness     asking whether sockets can be read and written
waits         processes, events, timers, jobs: objects that are signalled rather than read
directories   changes in a directory
"""
