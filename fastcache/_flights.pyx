"""Calls that others wait for: one in flight for a key, however many want its value.

Who waits for whom is known, so that nobody begins to wait in a circle: a function that
needs its own value calls itself, and so do two that need each other's.
"""

cimport cython
from libc.stdint cimport uint64_t

import os
from _thread import allocate_lock, get_ident

from fastcache._exceptions import copy_of


cdef extern from "_gil.h":
    const bint FASTCACHE_GIL


cdef object _gate = allocate_lock()
cdef dict _waiting = {}     # the flight that each thread or task waits for
cdef Py_ssize_t _forks = 0


@cython.final
@cython.auto_pickle(False)
cdef class Flight:
    """One call, and what came of it. Without value and error it was broken off."""


cdef tuple mark_of(uint64_t generation, object loop, object key):
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
    own = copy_of(error, flight.origin)
    if own is not None:
        return own
    return error if alone or FASTCACHE_GIL else None


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
