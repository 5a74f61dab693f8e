# The check of one request, as the gate that calls it sees it.

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from fastcache._ttl cimport TTLCache
from fastcache.shared._cache cimport SharedCache
from fastcache.shared._digest cimport DIGEST_SIZE, DigestKey, KeyedDigest
from fastcache.shared._tallies cimport Tallies
from fastcache.shared._words cimport Counters, Stripes
from latchkey.box._counters cimport CounterBlock
from latchkey.box._sightings cimport AddressSources
from latchkey.check._entry cimport CacheEntry
from latchkey.check._recent cimport Place, Recent
from latchkey.check._routes cimport Open


cdef enum Decision:
    UNCERTAIN
    UNKNOWN         # one secret was presented, and no cache has it
    ADMITTED
    FAILED          # an exception is raised


# `secret` lies in a text of the environ. No client can take that away meanwhile: only code of the
# server's own could, in the comparison of a name that is no plain str.
cdef struct Request:
    const char *secret  # NULL for none that is plain
    uint64_t hashed
    uint64_t *stripe
    Place *place
    unsigned char[DIGEST_SIZE] digest


cdef class Check:
    # What a hit reads, side by side and apart from the objects that keep it: between two
    # requests, an application has pushed out of the caches all that lies about.
    cdef CounterBlock block            # the words of `counters`
    cdef bint decides           # False: nothing is decided here
    cdef uint64_t *stripe_words
    cdef uint64_t stripe_mask
    cdef Place *places          # those of `recent`, or NULL
    cdef uint64_t pair_mask
    cdef Open open_routes
    cdef DigestKey key          # that of `digest`

    cdef TTLCache known         # or None
    cdef Recent recent          # what is looked at before it
    cdef SharedCache l2         # or None
    cdef KeyedDigest digest
    cdef Stripes stripes
    cdef Tallies uses
    cdef object count_use       # what to call where the tallies have no row yet
    cdef Counters counters
    cdef AddressSources sightings
    cdef dict open_methods      # of each open path
    cdef tuple open_areas
    cdef tuple open_prefixes

    cdef Decision look_up(
        self, dict environ, const char *secret, const unsigned char *digest, uint64_t hashed
    ) except FAILED
    cdef CacheEntry recall(
        self, const char *secret, const unsigned char *digest, uint64_t *stripe
    )
    cdef Decision let_through(
        self, dict environ, CacheEntry entry, int level, uint64_t hashed
    ) except FAILED
    cdef int count_and_admit(
        self, dict environ, object principal, uint64_t credential_id, uint64_t *row, int64_t now
    ) except -1


cdef Decision decide(Check check, PyObject *environ, Request *request) except FAILED
