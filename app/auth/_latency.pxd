# Latencies by endpoint and status, as the compiled middleware sees them.

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t


cdef class Statuses:
    cdef unsigned char index[500]   # of the series of each status from 100 on; 0 for none yet


cdef enum:
    PLACES = 16             # of routes and statuses that are found without a name


cdef struct Answered:       # a route that was answered with a status, and where that is counted
    PyObject *rule          # kept alive by the list beside it; NULL for none yet
    uint64_t status
    uint64_t *series


cdef class Latencies:
    cdef object memory          # keeps the words alive
    cdef uint64_t *words
    cdef bint alone             # no other process writes to them
    cdef dict endpoints         # an endpoint's Statuses; None is what no route answered
    cdef object lock
    cdef Answered[PLACES] answered  # found by rule and status
    cdef list rules             # those in `answered`

    cdef tuple name_at(self, int index)
    cdef Statuses statuses_of(self, object endpoint)
    cdef uint64_t index_of(self, object endpoint, int status) except? 0
    cdef uint64_t *series_of(self, object environ, int status) except NULL
    cdef uint64_t *series_of_rule(self, object rule, int status) except NULL
    cdef uint64_t add_series(self, object endpoint, int status) except? 0


cdef class Watch:
    # What it does when it is called; see PEP 590.
    cdef object (*called)(Watch, PyObject **, size_t, PyObject *)
    cdef object start_response
    cdef object environ
    cdef Latencies latencies
    cdef uint64_t start
    cdef uint64_t *series       # NULL until start_response was called
    cdef bint returned

    cdef int end(self) except -1
    cdef int fail(self) except -1


cdef Watch watch(Latencies latencies, object environ, object start_response, uint64_t start)
