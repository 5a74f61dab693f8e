"""A store in the memory of one process, in plain Python: for tests, and without any file."""
