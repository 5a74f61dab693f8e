"""The HTTP contract, tested over sockets against the real service."""
