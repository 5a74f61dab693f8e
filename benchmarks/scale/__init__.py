"""With more of everything: credentials, workers, threads, working set, and time."""
