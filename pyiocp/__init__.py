"""Windows I/O completion ports for Python."""
