"""The limit of open files: raised as far as the process may, and what it leaves for connections."""

from __future__ import annotations

import resource
from contextlib import suppress

_MOST_CONNECTIONS = 8192
# Of a worker with one thread: sockets, logs, pipes, the database and its companions, and a margin.
_OTHER_FILES = 64
_FILES_PER_THREAD = 4
_FEWEST_IDLE = 16


def raise_limit() -> int:
    """Raise the soft limit to the hard one, for this process and those it starts; the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # Refused where "unlimited" is more than the kernel allows one process.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return soft


def connections_within(limit: int, threads: int) -> int:
    """How many connections a worker may have open under a limit; never fewer than it needs."""
    fewest = threads + _FEWEST_IDLE
    if limit == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    others = _OTHER_FILES + _FILES_PER_THREAD * threads
    return max(fewest, min(_MOST_CONNECTIONS, limit - others))


def is_too_low(limit: int, threads: int) -> bool:
    """Whether a worker may run out of descriptors although its connections are limited."""
    needed = _OTHER_FILES + (_FILES_PER_THREAD + 1) * threads + _FEWEST_IDLE
    return limit != resource.RLIM_INFINITY and limit < needed
