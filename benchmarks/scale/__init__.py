"""Scaling: more credentials, workers, threads, a larger working set, and longer runs."""
