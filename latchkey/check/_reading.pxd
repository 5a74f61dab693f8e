# What the check reads before it decides: the secret, the stripes, and the lease.

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from fastcache._shard cimport fastcache_prefetch
from latchkey.check._check cimport Check, Request
from latchkey.check._entry cimport CacheEntry
from latchkey.check._headers cimport secret_in
from latchkey.check._recent cimport Place, pair_in
from latchkey.credentials._proof cimport LOOKUP_SIZE, MARK_SIZE
from latchkey.native._clock cimport CLOCK_BOOTTIME, LAG_NS, nanoseconds
from latchkey.native._vector cimport expected, unexpected
from latchkey.native._words cimport load, load_relaxed, store_relaxed


cdef extern from "_fixed_hash.h":
    uint64_t fastcache_fixed_hash(const char *key, size_t length) noexcept nogil


cdef extern from *:
    """
    #include <stdint.h>
    #define LATCHKEY_FOREVER UINT64_MAX
    """
    const uint64_t FOREVER "LATCHKEY_FOREVER"


cdef inline uint64_t *stripe_of(Check check, uint64_t hashed) noexcept nogil:
    return &check.stripe_words[hashed & check.stripe_mask]


cdef inline bint is_current(Check check, uint64_t *stripe, CacheEntry entry) noexcept:
    """Whether no change of the key or of its account was published since before the entry's read.

    The ticket is the sum of the two generations. Neither ever decreases, so an equal sum means that
    each still was what it had been when it was loaded here. The order of the two loads does not
    matter: a change that was answered before this request began incremented its stripe before both.
    """
    return load(stripe) + load(stripe_of(check, entry.account_hash)) == entry.ticket


cdef inline bint renews_lease(Check check, uint64_t coarse) noexcept:
    cdef uint64_t until = load(check.fresh_until)
    cdef uint64_t now
    if until != FOREVER:
        now = nanoseconds(CLOCK_BOOTTIME)
        if now + LAG_NS >= until:
            return now < until
    store_relaxed(&check.leased_at, coarse)
    return True


cdef inline bint has_lease(Check check, uint64_t coarse) noexcept:
    """Whether cached entries count now; `coarse` is the time of CLOCK_MONOTONIC_COARSE.

    The lease runs on CLOCK_BOOTTIME, which takes longer to read. A lease that was verified to last
    longer than a coarse clock lags is still running at the same tick of the coarse clock. The
    machine cannot have been suspended in between, since that moves the coarse clock.
    """
    return expected(load_relaxed(&check.leased_at) == coarse) or renews_lease(check, coarse)


cdef inline int prefetch_entry(Check check, PyObject *environ, Request *request) except -1:
    """Read the secret, and prefetch the memory that the next steps read."""
    cdef const char *secret = secret_in(environ)
    request.secret = secret
    if unexpected(secret == NULL):
        request.hashed = 0
        request.stripe = NULL
        request.place = NULL
        return 0
    request.hashed = fastcache_fixed_hash(secret + MARK_SIZE, LOOKUP_SIZE)
    request.stripe = stripe_of(check, request.hashed)
    fastcache_prefetch(request.stripe)
    request.place = pair_in(check.places, check.pair_mask, request.hashed)
    if expected(request.place != NULL):
        fastcache_prefetch(request.place)
        fastcache_prefetch(request.place + 1)
    return 0


cdef inline void prefetch_limits(Place *place) noexcept:
    """Prefetch what a hit of a key with limits reads after its digest is known to match.

    The pointers are read while the digest is computed. None of them is used for anything else.
    """
    cdef PyObject *held = place.held
    if held != NULL:
        fastcache_prefetch((<CacheEntry>held).state)
        fastcache_prefetch(<PyObject *>(<CacheEntry>held).outcome)
        fastcache_prefetch(<PyObject *>(<CacheEntry>held).principal)
        fastcache_prefetch(<PyObject *>(<CacheEntry>held).limits)
        fastcache_prefetch(<char *><PyObject *>(<CacheEntry>held).limits + 64)
