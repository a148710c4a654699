"""Files that are awaited.

- ``opening`` has ``open``: what it takes, and what it returns;
- ``binary_file`` reads and writes bytes, by requests at offsets;
- ``text_file`` makes text of them;
- ``text_position`` finds the place in the bytes that belongs to a place in the text.
"""
