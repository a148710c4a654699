"""Ring 2, what looks on: it costs nothing while nobody asks.

statistics     what is in flight, what it locks, and what has been
trace          what operations and threads did, and when; recording does it for every port
debugging      who wrote to a buffer while the kernel owned it
draining       completions as a table, for a REPL
handle_count   how many handles the process has
"""
