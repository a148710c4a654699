"""Ring 2: observing a port, at no cost while it is not used.

statistics     what is in flight and what it locks; peaks and totals on request
trace          what operations and threads did, and when; recording traces every port
debugging      writes to a buffer while the kernel owns it
draining       completions as a table, for a REPL
handle_count   how many handles the process has
"""
