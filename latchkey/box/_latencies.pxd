# Latency histograms by endpoint and status, as compiled code updates them.

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from latchkey.native._words cimport add


cdef extern from "_gil.h":
    const bint FASTCACHE_GIL


cdef extern from *:
    """
    /* Upper bounds of the buckets, in nanoseconds. */
    static const uint64_t latchkey_latency_bounds[] = {
        50000, 100000, 250000, 500000,
        1000000, 2500000, 5000000, 10000000, 25000000, 50000000,
        100000000, 250000000, 500000000,
        1000000000, 2500000000, 5000000000, 10000000000,
    };
    """
    const uint64_t *BOUNDS "latchkey_latency_bounds"


cdef enum:
    BUCKETS = 18            # the last bucket has no upper bound


cdef class Statuses:
    cdef unsigned char index[500]   # of the series of each status from 100 on; 0 for none yet


cdef enum:
    PLACES = 16             # routes and statuses that are found without a lookup by name


cdef struct Answered:       # a route answered with a status, and the place of its series
    PyObject *rule          # kept alive by `rules`; NULL in an unused place
    uint64_t status
    uint64_t *series


cdef class Latencies:
    cdef object memory          # keeps the words alive
    cdef uint64_t *words
    cdef bint alone             # no other process writes to the words
    cdef dict endpoints         # each endpoint's Statuses; None stands for unrouted requests
    cdef object lock
    cdef Answered[PLACES] answered  # by rule and status
    cdef list rules             # keeps the rules in `answered` alive

    cdef tuple name_at(self, int index)
    cdef Statuses statuses_of(self, object endpoint)
    cdef uint64_t index_of(self, object endpoint, int status) except? 0
    cdef uint64_t *add_rule(self, object rule, int status, uint64_t place) except NULL
    cdef uint64_t add_series(self, object endpoint, int status) except? 0


cdef uint64_t *series_of(
    Latencies latencies, PyObject *environ, int status
) except NULL


cdef inline void observe(bint alone, uint64_t *series, uint64_t duration) noexcept:
    cdef int bucket = 0
    while bucket < BUCKETS - 1 and duration > BOUNDS[bucket]:
        bucket += 1
    add(alone, &series[bucket], 1)
    add(alone, &series[BUCKETS], duration)
