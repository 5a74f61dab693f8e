# What was let through last, as the compiled middleware sees it.

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from latchkey.check._entry cimport CacheEntry
from fastcache.shared._digest cimport DIGEST_SIZE


cdef struct Place:          # one cache line: all that decides, but for the stripe
    unsigned char digest[DIGEST_SIZE]
    uint64_t ticket
    uint64_t deadline
    int64_t expires
    uint64_t *row           # where its uses are counted
    PyObject *principal     # owned; NULL in an empty place
    uint64_t left           # so many hits more before the cache is asked again


cdef class Recent:
    cdef uint64_t pairs     # a power of two; 0: nothing is ever remembered
    cdef Place *places      # two to a pair, line by line; NULL until something is remembered

    cdef bint has_places(self) noexcept
    cdef void remember(self, uint64_t hashed, CacheEntry entry, uint64_t *row) noexcept


cdef inline Place *pair_in(Place *places, uint64_t mask, uint64_t hashed) noexcept nogil:
    """The two places that a key with this fixed hash may be in; NULL for none."""
    if places == NULL:
        return NULL
    # Stripes are chosen by the lower half.
    return &places[2 * (hashed >> 32 & mask)]
