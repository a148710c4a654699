"""Files on a port.

file             a file; file_open and file_operation are parts of it
scatter          reads and writes of separate pages
alignment        what unbuffered files ask of offsets, lengths and addresses
bulk_file        whole files: copied, hashed, read in blocks
transfer         several operations that belong together, and their end
"""
