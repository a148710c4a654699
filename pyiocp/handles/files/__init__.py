"""Files on a port.

file             a file: opened by file_open, read and written by file_operation
scatter          reads and writes of separate pages
alignment        what unbuffered files require of offsets, lengths and addresses
bulk_file        whole files: copied, hashed, read in blocks
transfer         several operations that belong together, and waiting for them
"""
