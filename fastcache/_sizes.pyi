"""Nothing here can be seen from Python."""
