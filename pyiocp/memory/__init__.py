"""Where buffers come from, which pages they lie on, and who looks after them."""
