"""Ring 2, the port's queue: how packets come out of the kernel and find what they are for."""
