"""Ring 2, the memory that the kernel reads and writes.

buffer_pool    page-aligned buffers, lent and given back; slab is one block of them
pages          which pages a buffer lies on
working_set    how much of it may be locked; privilege is what large pages need
kept_memory    what the kernel may write to although its operation is over
"""
