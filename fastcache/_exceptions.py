"""Copies of exceptions, for threads that raise the same one at the same time.

Not compiled: Cython creates a code object for each traceback, and CPython 3.13 interns its names
without a lock. Without the GIL, threads that fail at the same time would race there.
"""

from __future__ import annotations

import copy
import copyreg
from contextlib import suppress
from types import MemberDescriptorType
from typing import Any

_UNSET = object()
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class created by a class statement


def copy_of(error: Exception, origin: tuple[Any, ...]) -> Exception | None:
    """A copy of an exception, or None if it cannot be copied.

    ``origin`` has the traceback, cause and context of the copy, and whether the context is hidden.
    """
    try:
        own = _copied(error)
        if own is error or type(own) is not type(error):
            return None
        if "__notes__" in vars(own):
            own.__notes__ = list(own.__notes__)
        own.__traceback__, own.__cause__, own.__context__, own.__suppress_context__ = origin
    except Exception:  # noqa: BLE001 - whatever the class's own methods raise
        return None
    return own


def _copied(error: Exception) -> Exception:
    """A copy, created without calling the exception's own `__init__`.

    `copy.copy` would call it with `args`, which are the arguments of the base class: for `class
    Refused(Exception)` whose `__init__(self, code)` calls `super().__init__(f"refused: {code}")`,
    the copy would say "refused: refused: 5". If the class defines how it is copied, that is used.
    """
    kind = type(error)
    builtin: Any = kind
    while builtin.__flags__ & _HEAP_TYPE:
        builtin = builtin.__base__
    if (
        kind.__reduce__ is not builtin.__reduce__
        or kind.__reduce_ex__ is not builtin.__reduce_ex__
        or hasattr(kind, "__copy__")
        or kind in copyreg.dispatch_table
    ):
        return copy.copy(error)
    reduced: Any = error.__reduce__()
    _, args, *state = reduced
    own: Any = kind.__new__(kind, *args)
    builtin.__init__(own, *args)
    if state:
        # Copied: the thread that made the call may already be changing the error.
        own.__setstate__(dict(*state))
    _copy_members(kind, error, own)
    return own  # type: ignore[no-any-return]


def _copy_members(kind: type, error: Exception, own: Exception) -> None:
    """Copy slots and the fields of built-in classes, which `args` may not contain."""
    for base in kind.__mro__:
        for member in list(vars(base).values()):
            if isinstance(member, MemberDescriptorType):
                value = _member(member, error)
                if value is not _UNSET and _member(member, own) is not value:
                    # Read-only members are computed from `args`.
                    with suppress(AttributeError, TypeError):
                        member.__set__(own, value)


def _member(member: MemberDescriptorType, instance: Exception) -> Any:
    try:
        return member.__get__(instance)
    except AttributeError:
        return _UNSET
