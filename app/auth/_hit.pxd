# The way of a request that is let through, as compiled code walks it.

from libc.stdint cimport uint64_t

from app.auth._entry cimport Entry
from app.auth._latency cimport Latencies, Watch
from fastcache._digest cimport KeyedDigest
from fastcache._shared cimport Counters, Stripes
from fastcache._tallies cimport Tallies
from fastcache._ttl cimport TTLCache


cdef class HitPath:
    cdef object wsgi_app
    cdef object count_use       # called where the tallies have no row yet
    cdef TTLCache known
    cdef KeyedDigest digest
    cdef Stripes stripes
    cdef Tallies uses
    cdef Counters counters
    cdef uint64_t *counts
    cdef Latencies latencies    # None: not measured
    cdef dict open_methods      # of each open path
    cdef tuple open_areas

    cdef object answer(self, object environ, object start_response)
    cdef object decide(self, dict environ)
    cdef int let_through(self, dict environ, Entry entry) except -1
