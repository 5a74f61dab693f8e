# The check of a request, as declared for the gate that calls it.

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
from latchkey.check._taking cimport Tables


cdef enum Decision:
    UNCERTAIN
    UNKNOWN         # one secret was presented, and it is in no cache
    ADMITTED
    LIMITED         # admitted, after units were taken from the limits of the key
    FAILED          # an exception is raised


# `secret` points into a str of the environ. No client can make the pointer invalid. Only code of
# the server could, by a header name of a str subclass with its own comparison.
# `cost` is what the request takes from the limits of its key; 0 leaves a key with limits undecided.
# `limited` is set for a LIMITED request: the LimitOutcome, which the environ owns.
cdef struct Request:
    uint64_t cost
    PyObject *limited
    const char *secret  # NULL if there is no secret in a plain form
    uint64_t hashed
    uint64_t *stripe
    Place *place
    unsigned char[DIGEST_SIZE] digest


cdef class Check:
    # The fields that a hit reads lie together, apart from the objects that own them: between two
    # requests, the application evicts everything else from the processor's caches.
    cdef CounterBlock block            # the words of `counters`
    cdef bint decides           # False: every request is left undecided
    cdef uint64_t cost          # what a request takes from the limits of its key
    cdef char mode              # the first letter of the only mode that is admitted, or 0
    cdef uint64_t *stripe_words
    cdef uint64_t stripe_mask
    cdef uint64_t leased_at     # the last CLOCK_MONOTONIC_COARSE at which the lease was verified
    cdef uint64_t *fresh_until  # one of `words`
    cdef Place *places          # those of `recent`, or NULL
    cdef uint64_t pair_mask
    cdef Open open_routes
    cdef DigestKey key          # that of `digest`

    cdef TTLCache known         # or None
    cdef Recent recent          # read before `known`
    cdef SharedCache l2         # or None
    cdef KeyedDigest digest
    cdef Stripes stripes
    cdef Tallies uses
    cdef object count_use       # counts a use if the tallies have no row yet
    cdef Counters counters
    cdef Counters words
    cdef AddressSources sightings
    cdef object conditions      # evaluates those of an entry that has some
    cdef Tables tables          # of the limits
    cdef readonly bint as_x     # whether what is left is told by X- headers
    cdef dict open_methods      # of each open path
    cdef tuple open_areas
    cdef tuple open_prefixes
    cdef tuple only             # or None

    cdef Decision look_up(self, dict environ, Request *request) except FAILED
    cdef CacheEntry fetch_shared(
        self, const char *secret, const unsigned char *digest, uint64_t *stripe
    )
    cdef Decision admit_entry(
        self, dict environ, CacheEntry entry, int level, Request *request
    ) except FAILED
    cdef bint takes(self, CacheEntry entry, Request *request, int64_t now) except -1
    cdef int count_and_admit(
        self, dict environ, object principal, uint64_t credential_id, uint64_t *row, int64_t now
    ) except -1


cdef Decision decide(Check check, PyObject *environ, Request *request) except FAILED
