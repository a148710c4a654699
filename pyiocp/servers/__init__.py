"""Ring 3, sessions: hooks and methods in the place of operations and completions.

service          the sessions of one port, and how all of it ends; host is what others see of it
workers          the threads that serve a port
blocking_pool    threads for functions that would block a worker
admission        which clients are let in, and how fast
transport        what a session asks of what is below it; layer may come in between
life             how a session of either kind goes on, and ends with one ``on_close``
session_state    the states of that; idle_watch notices silence
resolver         looks names up in threads; resolve is what they mean
listening_socket sockets at an address
monitor          lets programs on this machine look at a port while it runs

tcp, udp         sessions over either
clients          who connects: once, again and again, or from a pool
tls, framing     the two layers
"""
