"""Wire v1: bytes to values and back, with no I/O."""
