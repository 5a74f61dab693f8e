"""Calls with waiters: one call in flight for a key, however many callers need its value.

The module records which caller waits for which call, so that callers never wait in a circle: a
function may call itself with the same arguments, and two functions may need each other's results.
"""

cimport cython
from libc.stdint cimport uint64_t

import os
from _thread import allocate_lock, get_ident

from fastcache._exceptions import copy_of


cdef extern from "_gil.h":
    const bint FASTCACHE_GIL


cdef object _gate = allocate_lock()
cdef dict _waiting = {}     # the flight that each waiting thread or task waits for
cdef Py_ssize_t _forks = 0


@cython.final
@cython.auto_pickle(False)
cdef class Flight:
    """One call and its result. A call that has no value and no error was aborted."""


cdef tuple mark_of(uint64_t generation, object loop, object key):
    """The name of a key's flights; it changes with a fork and with a clear."""
    return (generation, _forks, loop, key)


cdef Flight flight_of_thread():
    """A new flight of this thread."""
    cdef Flight flight = Flight.__new__(Flight)
    flight.owner = get_ident()
    flight.done = allocate_lock()
    flight.done.acquire()
    return flight


cdef bint may_wait(object waiter, Flight flight) except -1:
    """Start waiting; `waited` ends the wait. False if the flight is already over, or if waiting
    would close a circle.
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
    """A copy of a flight's error for one of the waiters.

    One exception object raised by several threads would have one traceback for all of them, which
    they would write concurrently without the GIL. If the error cannot be copied: the error itself
    with the GIL, or if the waiters are `alone` in one thread; otherwise None.
    """
    error = flight.error
    own = copy_of(error, flight.origin)
    if own is not None:
        return own
    return error if alone or FASTCACHE_GIL else None


cdef int end(Flight flight) except -1:
    """Release the waiters."""
    with _gate:
        flight.over = True
    flight.done.release()
    return 0


def _forked():
    """In a child after a fork: the parent's threads do not exist there and wait for nothing."""
    global _gate, _waiting, _forks
    _gate = allocate_lock()
    _waiting = {}
    _forks += 1


os.register_at_fork(after_in_child=_forked)
