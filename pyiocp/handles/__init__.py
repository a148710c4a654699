"""Ring 2, the kinds of handle, a folder for each family; what all of them share is here.

handle        joins a port, is closed, is given back
association   whether a handle is on a port already, and how it was opened
adopting      what kind of handle somebody has already

sockets       streams (TCP, AF_UNIX) and datagrams (UDP)
files         files, and whole files in one call
pipes         named pipes, both ends
waits         processes, events, timers, jobs: what is signalled rather than read
directories   what changes in a directory
"""
