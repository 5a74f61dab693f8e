# The way of a request that is let through, as compiled code walks it.

from libc.stdint cimport int64_t, uint64_t

from app.auth._entry cimport Entry
from app.auth._latency cimport Latencies
from fastcache._digest cimport KeyedDigest
from fastcache._shared cimport Counters, Stripes
from fastcache._tallies cimport Tallies
from fastcache._ttl cimport TTLCache


cdef class HitPath:
    cdef object wsgi_app
    cdef object count_use       # what to call where the tallies have no row yet
    cdef TTLCache known         # None: nothing is decided here
    cdef object l2         # or None
    cdef KeyedDigest digest
    cdef Stripes stripes
    cdef Tallies uses
    cdef Counters counters
    cdef uint64_t *counts       # the words of `counters`
    cdef Latencies latencies    # None: not measured
    cdef dict open_methods      # of each open path
    cdef uint64_t open_sizes    # a bit for each length of an open path
    cdef tuple open_areas

    cdef object answer(self, object environ, object start_response)
    cdef bint decide(self, dict environ) except -1
    cdef bint is_open(self, dict environ, bint *certain) except -1
    cdef Entry recall(self, object named, const char *secret, const unsigned char *digest)
    cdef bint let_through(self, dict environ, Entry entry, int level) except -1
