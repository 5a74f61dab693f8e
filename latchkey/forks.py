"""Forks: notifies objects that belong to one process in each child that is forked from it.

A child has a copy of its parent's memory but none of its threads. It shares the parent's
descriptors, locks and database connections, so it cannot use them.
"""

from __future__ import annotations

import ctypes
import os
from typing import Protocol
from weakref import WeakSet


class Owned(Protocol):
    """An object that belongs to one process."""

    def after_fork(self) -> None:
        """Called in the child before any other code runs there; the child has one thread."""


NOT_OURS = (
    "Latchkey was built before a fork: build it in each process that serves, after the fork "
    "(with gunicorn: without --preload)"
)

_owned: WeakSet[Owned] = WeakSet()


def notify_after_fork(owned: Owned) -> None:
    """Call ``after_fork`` in each child, as long as the object is in use."""
    _owned.add(owned)


def keep_forever(kept: object) -> None:
    """Never delete the object and its references, not even when the interpreter exits."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))


def _notify() -> None:
    for owned in list(_owned):
        owned.after_fork()


os.register_at_fork(after_in_child=_notify)
