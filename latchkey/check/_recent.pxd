# The table of recently admitted credentials.

from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from latchkey.check._entry cimport CacheEntry
from fastcache.shared._digest cimport DIGEST_SIZE


cdef struct Place:          # one cache line: all that decides, except the stripes
    unsigned char digest[DIGEST_SIZE]
    uint64_t ticket
    uint64_t deadline
    int64_t expires
    uint64_t *row           # where uses are counted
    PyObject *held          # owned: the principal, or the entry of a key with limits; or NULL
    uint32_t account_stripe  # the index of the stripe of the account
    int32_t left            # hits until the cache is read again; below 0 for a key with limits


cdef class Recent:
    cdef uint64_t pairs     # a power of two; 0: nothing is stored
    cdef Place *places      # aligned to cache lines; NULL until something is stored

    cdef bint has_places(self) noexcept
    cdef void remember(
        self, uint64_t hashed, CacheEntry entry, uint32_t account_stripe, uint64_t *row
    ) noexcept


cdef inline Place *pair_in(Place *places, uint64_t mask, uint64_t hashed) noexcept nogil:
    """The two places for a key with this fixed hash; NULL if there are none."""
    if places == NULL:
        return NULL
    # The lower half of the hash selects the stripe.
    return &places[2 * (hashed >> 32 & mask)]
