# The way of a request that is let through, as compiled code walks it.

from libc.stdint cimport int64_t, uint64_t

from app.auth._entry cimport Entry
from app.auth._latency cimport Latencies
from app.auth._recent cimport Place, Recent
from app.auth._sightings cimport Sources
from fastcache._digest cimport DigestKey, KeyedDigest
from fastcache._shared cimport Counters, Stripes
from fastcache._shared_cache cimport SharedCache
from fastcache._tallies cimport Tallies
from fastcache._ttl cimport TTLCache


cdef enum Decision:
    UNCERTAIN
    UNKNOWN         # one secret was presented, and no cache has it
    ADMITTED


cdef class HitPath:
    cdef object wsgi_app
    cdef Latencies latencies    # None: not measured
    # What a hit reads, side by side and apart from the objects that keep it: between two
    # requests, an application has pushed out of the caches all that lies about.
    cdef uint64_t *counts       # the words of `counters`
    cdef bint alone             # no other process counts there
    cdef bint decides           # False: nothing is decided here
    cdef uint64_t *stripe_words
    cdef uint64_t stripe_mask
    cdef Place *places          # those of `recent`, or NULL
    cdef uint64_t pair_mask
    cdef uint64_t open_sizes    # a bit for each length of an open path
    cdef uint64_t area_marks    # a bit for each second character of an open area, by its last bits
    cdef DigestKey key          # that of `digest`

    cdef TTLCache known         # or None
    cdef Recent recent          # what is looked at before it
    cdef SharedCache l2         # or None
    cdef KeyedDigest digest
    cdef Stripes stripes
    cdef Tallies uses
    cdef object count_use       # what to call where the tallies have no row yet
    cdef Counters counters
    cdef Sources sightings
    cdef dict open_methods      # of each open path
    cdef tuple open_areas

    cdef Decision decide(
        self, dict environ, const char **presented, unsigned char *digest, uint64_t started
    ) except *
    cdef Decision look_up(
        self, dict environ, const char *secret, const unsigned char *digest, uint64_t hashed
    ) except *
    cdef bint is_open(self, dict environ, bint *certain) except -1
    cdef Entry recall(
        self, const char *secret, const unsigned char *digest, uint64_t *stripe
    )
    cdef Decision let_through(
        self, dict environ, Entry entry, int level, uint64_t hashed
    ) except *
    cdef int count_and_admit(
        self, dict environ, object principal, uint64_t credential_id, uint64_t *row, int64_t now
    ) except -1
