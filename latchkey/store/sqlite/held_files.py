"""Descriptors of files that SQLite also has open, shared by the whole process.

SQLite's locks are POSIX locks: closing any descriptor of a file drops every lock that the process
has on it, also those of another connection. So there is one descriptor for each file, which is
closed after the last of its users has closed its connections.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class _Held:
    descriptor: int
    users: int


_lock = threading.Lock()
_held: dict[tuple[int, int], _Held] = {}


def acquire(name: str, flags: int, open_file: Callable[[Path, int], int]) -> int:
    """A descriptor of the file; ``release`` it after the connections are closed.

    ``open_file`` opens it, safely. Raises OSError.
    """
    with _lock:
        status = os.stat(name)
        found = _held.get((status.st_dev, status.st_ino))
        if found is None:
            descriptor = open_file(Path(name), flags)
            status = os.fstat(descriptor)
            # The name may have been given in between to another file that is already held. Then the
            # second descriptor stays open: closing it would drop the locks.
            found = _held.setdefault((status.st_dev, status.st_ino), _Held(descriptor, 0))
        found.users += 1
        return found.descriptor


def release(descriptor: int) -> None:
    """Release a descriptor of ``acquire``."""
    with _lock:
        for key, held in _held.items():
            if held.descriptor == descriptor:
                held.users -= 1
                if not held.users:
                    del _held[key]
                    os.close(descriptor)
                return
