"""Calls that others wait for: one in flight for a key, however many want its value.

Who waits for whom is known, so that nobody begins to wait in a circle: a function that
needs its own value calls itself, and so do two that need each other's.
"""

cimport cython

import copy
import copyreg
import os
from _thread import allocate_lock, get_ident
from types import MemberDescriptorType


cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define FASTCACHE_GIL 0
    #else
    #define FASTCACHE_GIL 1
    #endif
    """
    const bint FASTCACHE_GIL


cdef object _gate = allocate_lock()
cdef dict _waiting = {}     # the flight that each thread or task waits for
cdef Py_ssize_t _forks = 0
_UNSET = object()
_HEAP_TYPE = 1 << 9   # Py_TPFLAGS_HEAPTYPE: a class that was made by a class statement


@cython.final
@cython.auto_pickle(False)
cdef class Flight:
    """One call, and what came of it. Without value and error it was broken off."""


cdef tuple mark_of(Py_ssize_t generation, object loop, object key):
    """Names the flights of a key; those before a fork or a clearing are others."""
    return (generation, _forks, loop, key)


cdef Flight flight_of_thread():
    """A flight that this thread begins."""
    cdef Flight flight = Flight.__new__(Flight)
    flight.owner = get_ident()
    flight.done = allocate_lock()
    flight.done.acquire()
    return flight


cdef bint may_wait(object waiter, Flight flight) except -1:
    """Begin to wait, to be ended by `waited`; false if the flight is over already, or if
    that would close a circle.
    """
    cdef Flight following = flight
    with _gate:
        if flight.over:
            return False
        while following is not None:
            if following.owner == waiter:
                return False
            following = _waiting.get(following.owner)
        _waiting[waiter] = flight
    return True


cdef int waited(object waiter) except -1:
    with _gate:
        del _waiting[waiter]
    return 0


cdef int failed(Flight flight, object error) except -1:
    flight.error = error
    flight.origin = (
        error.__traceback__, error.__cause__, error.__context__, error.__suppress_context__
    )
    return 0


cdef object error_of_its_own(Flight flight, bint alone):
    """A copy of a flight's error for one of those who waited.

    One exception raised by several threads would have one traceback for all of them, which
    without the GIL they would write at once. Where none can be made: the error itself if the
    GIL is there or the waiters are `alone` in one thread, else None.
    """
    error = flight.error
    try:
        own = _copied(error)
        if own is not error and type(own) is type(error):
            if "__notes__" in own.__dict__:
                own.__notes__ = list(own.__notes__)
            traceback, cause, context, suppressed = flight.origin
            own.__cause__ = cause
            own.__context__ = context
            own.__suppress_context__ = suppressed
            own.__traceback__ = traceback
            return own
    except Exception:
        pass
    return error if alone or FASTCACHE_GIL else None


def _copied(error):
    """A copy, made without the exception's own `__init__`.

    `copy.copy` would call it with `args`, which are what it gave to its base: `class
    Refused(Exception)` whose `__init__(self, code)` calls `super().__init__(f"refused: {code}")`
    would say "refused: refused: 5". Where the class says how it is copied, that is done.
    """
    kind = type(error)
    builtin = kind
    while builtin.__flags__ & _HEAP_TYPE:
        builtin = builtin.__base__
    if (
        kind.__reduce__ is not builtin.__reduce__
        or kind.__reduce_ex__ is not builtin.__reduce_ex__
        or hasattr(kind, "__copy__")
        or kind in copyreg.dispatch_table
    ):
        return copy.copy(error)
    _, args, *state = error.__reduce__()
    own = kind.__new__(kind, *args)
    builtin.__init__(own, *args)
    if state:
        # Of a copy: whoever made the call may be changing the error already.
        own.__setstate__(dict(*state))
    _copy_members(kind, error, own)
    return own


def _copy_members(kind, error, own):
    """Take over slots and the fields of built-in classes, which `args` need not tell."""
    for base in kind.__mro__:
        for member in list(vars(base).values()):
            if type(member) is MemberDescriptorType:
                value = _member(member, error)
                if value is not _UNSET and _member(member, own) is not value:
                    try:
                        member.__set__(own, value)
                    except (AttributeError, TypeError):
                        pass    # it is read-only, and made of `args`


def _member(member, instance):
    try:
        return member.__get__(instance)
    except AttributeError:
        return _UNSET


cdef int end(Flight flight) except -1:
    """Release those who wait."""
    with _gate:
        flight.over = True
    flight.done.release()
    return 0


def _forked():
    """The threads of the parent are not in the child, and wait for nothing there."""
    global _gate, _waiting, _forks
    _gate = allocate_lock()
    _waiting = {}
    _forks += 1


os.register_at_fork(after_in_child=_forked)
