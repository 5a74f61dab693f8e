"""The limit of open files, and the number of connections that it permits."""

from __future__ import annotations

import resource
from contextlib import suppress

_MOST_CONNECTIONS = 8192
# Files of a worker besides its connections: sockets, logs, pipes, the database, and a margin.
_OTHER_FILES = 64
_FILES_PER_THREAD = 4
_FEWEST_IDLE = 16


def raise_limit() -> int:
    """Raise the soft limit to the hard limit, for this process and its children; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # Fails if "unlimited" is more than the kernel permits for one process.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return soft


def connections_within(limit: int, threads: int) -> int:
    """The most connections that a worker may have open, but never fewer than it needs."""
    fewest = threads + _FEWEST_IDLE
    if limit == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    others = _OTHER_FILES + _FILES_PER_THREAD * threads
    return max(fewest, min(_MOST_CONNECTIONS, limit - others))


def is_too_low(limit: int, threads: int) -> bool:
    """Whether a worker may run out of file descriptors although its connections are limited."""
    needed = _OTHER_FILES + (_FILES_PER_THREAD + 1) * threads + _FEWEST_IDLE
    return limit != resource.RLIM_INFINITY and limit < needed
