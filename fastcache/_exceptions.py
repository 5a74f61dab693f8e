"""Copies of exceptions, for threads that are to raise the same one at once.

Not compiled: Cython makes a code object for each traceback, and CPython 3.13 interns the names of
a new one without a lock, so that without the GIL threads that fail at once would meet there.
"""

from __future__ import annotations

import copy
import copyreg
from contextlib import suppress
from types import MemberDescriptorType
from typing import Any

_UNSET = object()
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class that was made by a class statement


def copy_of(error: Exception, origin: tuple[Any, ...]) -> Exception | None:
    """A copy of an exception, or None where none can be made.

    ``origin`` has the traceback, cause and context it is to have, and whether that is hidden.
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
    """A copy, made without the exception's own `__init__`.

    `copy.copy` would call it with `args`, which are what it gave to its base: `class
    Refused(Exception)` whose `__init__(self, code)` calls `super().__init__(f"refused: {code}")`
    would say "refused: refused: 5". Where the class says how it is copied, that is done.
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
        # Of a copy: whoever made the call may be changing the error already.
        own.__setstate__(dict(*state))
    _copy_members(kind, error, own)
    return own  # type: ignore[no-any-return]


def _copy_members(kind: type, error: Exception, own: Exception) -> None:
    """Take over slots and the fields of built-in classes, which `args` need not tell."""
    for base in kind.__mro__:
        for member in list(vars(base).values()):
            if isinstance(member, MemberDescriptorType):
                value = _member(member, error)
                if value is not _UNSET and _member(member, own) is not value:
                    # What is read-only is made of `args`.
                    with suppress(AttributeError, TypeError):
                        member.__set__(own, value)


def _member(member: MemberDescriptorType, instance: Exception) -> Any:
    try:
        return member.__get__(instance)
    except AttributeError:
        return _UNSET
