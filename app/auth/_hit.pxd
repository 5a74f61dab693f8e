# The way of a request that is let through, as compiled code walks it.

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from app.auth._entry cimport Entry
from app.auth._latency cimport Latencies, Watch
from app.auth._recent cimport Place, Recent
from app.auth._routes cimport Open
from app.auth._sightings cimport Sources
from app.auth._vector cimport expected
from fastcache._digest cimport DIGEST_SIZE, DigestKey, KeyedDigest
from fastcache._shared cimport Counters, Stripes
from fastcache._shared_cache cimport SharedCache
from fastcache._tallies cimport Tallies
from fastcache._ttl cimport TTLCache


cdef extern from "_atomics.h":
    void fastcache_add_relaxed(uint64_t *word, uint64_t amount) noexcept nogil
    void fastcache_add_alone(uint64_t *word, uint64_t amount) noexcept


cdef enum:                  # of a worker's block, as app.auth.counts.Count has them
    AUTHENTICATED = 0
    OPEN = 1
    CACHE_HIT = 2
    SHARED_HIT = 3
    STARTED = 4
    FINISHED = 5


cdef enum Decision:
    UNCERTAIN
    UNKNOWN         # one secret was presented, and no cache has it
    ADMITTED
    FAILED          # an exception is raised


# `secret` lies in a text of the environ. No client can take that away meanwhile: only code of the
# server's own could, in the comparison of a name that is no plain str.
cdef struct Presented:
    bint decides        # False: nothing is decided of this request, the rest is not looked at
    const char *secret  # NULL for none that is plain
    uint64_t hashed
    uint64_t *stripe
    Place *place
    unsigned char[DIGEST_SIZE] digest


cdef class HitPath:
    # What it does when it is called; see PEP 590.
    cdef object (*called)(HitPath, PyObject **, size_t, PyObject *)
    cdef object function        # the application; of a method, its function,
    cdef object first           # and what that is called with first
    cdef bint bound             # whether it is a method
    cdef Latencies latencies    # None: not measured
    cdef Watch spare            # one that was let go, to be used again; or None
    # What a hit reads, side by side and apart from the objects that keep it: between two
    # requests, an application has pushed out of the caches all that lies about.
    cdef uint64_t *counts       # the words of `counters`
    cdef bint alone             # no other process counts there
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
    cdef Sources sightings
    cdef dict open_methods      # of each open path
    cdef tuple open_areas
    cdef tuple open_prefixes

    cdef Decision look_up(
        self, dict environ, const char *secret, const unsigned char *digest, uint64_t hashed
    ) except FAILED
    cdef Entry recall(
        self, const char *secret, const unsigned char *digest, uint64_t *stripe
    )
    cdef Decision let_through(
        self, dict environ, Entry entry, int level, uint64_t hashed
    ) except FAILED
    cdef int count_and_admit(
        self, dict environ, object principal, uint64_t credential_id, uint64_t *row, int64_t now
    ) except -1
    cdef object examined(
        self, object environ, object start_response, Presented *presented, Decision decision
    )


cdef inline void count(HitPath path, int index) noexcept:
    """Count in the worker's block."""
    if expected(path.alone):
        fastcache_add_alone(&path.counts[index], 1)
    else:
        fastcache_add_relaxed(&path.counts[index], 1)


cdef inline uint64_t *stripe_of(HitPath path, uint64_t hashed) noexcept nogil:
    return &path.stripe_words[hashed & path.stripe_mask]
