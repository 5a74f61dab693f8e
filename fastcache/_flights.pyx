"""Calls that others wait for: one in flight for a key, however many want its value.

Who waits for whom is known, so that nobody begins to wait in a circle: a function that
needs its own value calls itself, and so do two that need each other's.
"""

cimport cython

import os
from _thread import allocate_lock, get_ident

cdef object _gate = allocate_lock()
cdef dict _waiting = {}     # the flight that each thread or task waits for
cdef Py_ssize_t _forks = 0


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
