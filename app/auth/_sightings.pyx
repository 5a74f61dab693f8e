# cython: always_allow_keywords=False
"""Whether a use came from where the last one did: asked of the first use in each second.

A credential's row of tallies has a hash of where its last use came from, and of the span of time.
Where that is the same, nothing is left to do: the address was noted, and the time of the last use
is in the row. So the address itself is read and noted once in some minutes, and when it changes.
"""

cimport cython
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject, PyObject_Hash
from libc.stdint cimport uint64_t

from app.auth._clock cimport CLOCK_REALTIME_COARSE, milliseconds

from app.auth.counts import Use


cdef extern from "Python.h":
    bint PyUnicode_CheckExact(object text) noexcept


cdef extern from "_atomics.h":
    uint64_t fastcache_load_relaxed(uint64_t *word) noexcept nogil
    void fastcache_store_relaxed(uint64_t *word, uint64_t value) noexcept nogil


cdef int FIRST_USED = Use.FIRST_USED
cdef int SOURCE = Use.SOURCE

cdef str PEER = "REMOTE_ADDR"
cdef str FORWARDED = "HTTP_X_FORWARDED_FOR"

cdef enum:
    # Of milliseconds: 262.144 seconds. Less than half of what the table keeps an address for.
    SPAN_BITS = 18
cdef uint64_t ODD = 0x9E3779B97F4A7C15


cdef uint64_t hash_of(dict environ, str name) except? 0:
    """The interpreter's hash, which no client can foresee; workers that were forked share it."""
    cdef PyObject *value = PyDict_GetItemWithError(environ, name)
    if value == NULL or not PyUnicode_CheckExact(<object>value):
        return 0
    return <uint64_t>PyObject_Hash(<object>value)


@cython.auto_pickle(False)
cdef class Sources:
    """Tells uses from somewhere new; a subclass notes them.

    `record(environ, credential_id, now)` notes where a request came from, `now` in milliseconds
    since 1970; False where it could not, and is to be asked again.
    """

    def __init__(self, Tallies uses not None, bint forwarded):
        self.uses = uses
        self.forwarded = forwarded

    def see(self, dict environ not None, credential_id, uint64_t before, /):
        """Look at a use that has been counted, where that before it, at `before`, is longer ago."""
        cdef uint64_t now = <uint64_t>milliseconds(CLOCK_REALTIME_COARSE)
        cdef uint64_t number = credential_id
        cdef uint64_t *row = self.uses.row_at(number)
        if row != NULL and in_another_second(before, now):
            self.look(environ, row, now)

    cdef int look(self, dict environ, uint64_t *row, uint64_t now) except -1:
        """Look at the first use in a second; `row` is that of the credential."""
        cdef uint64_t source = hash_of(environ, PEER) ^ (now >> SPAN_BITS) * ODD
        if self.forwarded:
            source = source * ODD ^ hash_of(environ, FORWARDED)
        # An empty row has 0.
        source |= 1
        if fastcache_load_relaxed(&row[FIRST_USED]) == 0:
            fastcache_store_relaxed(&row[FIRST_USED], now)
        if fastcache_load_relaxed(&row[SOURCE]) != source:
            if self.record(environ, self.uses.number_of(row), now):
                fastcache_store_relaxed(&row[SOURCE], source)
        return 0
