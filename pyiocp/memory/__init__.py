"""Ring 2: the memory that the kernel reads and writes.

buffer_pool    buffers that are reused; slab is the memory of some of them
pages          which pages a buffer is on, and how slices are packed into pages
working_set    how much memory may be locked; privilege is what large pages need
kept_memory    what the kernel may still write to although the operation is over
"""
