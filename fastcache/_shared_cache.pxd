# The cache that processes share, as other compiled modules see it.

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from fastcache._shared cimport Words


cdef class SharedCache:
    cdef Words area             # keeps the memory
    cdef uint64_t *words        # where it begins: the header
    cdef uint64_t sets
    cdef uint64_t ways
    cdef size_t set_words
    cdef size_t slot_words
    cdef size_t tag_words

    # 1 for a hit, 0 for a miss. `value` has room for `slot_size` bytes.
    cdef bint fetch(
        self, const char *key, size_t length, unsigned char *value, size_t *value_length,
        uint64_t *ticket, uint64_t *deadline,
    ) noexcept nogil
    # 1: stored, 0: too large, or the set is busy.
    cdef bint store(
        self, const char *key, size_t length, const unsigned char *value, size_t value_length,
        uint64_t ticket, uint64_t deadline,
    ) noexcept nogil

    cdef int open(self, Words area) except -1
    cdef uint64_t *set_of(self, uint64_t hashed) noexcept nogil
    cdef uint64_t *slot_of(self, uint64_t *set_words, uint64_t way) noexcept nogil
    cdef bint is_live(self, uint64_t meta, uint64_t deadline, uint64_t now) noexcept nogil
    cdef bint read(
        self, uint64_t *slot, const char *key, size_t length, unsigned char *value,
        size_t *value_length, uint64_t *ticket, uint64_t *deadline,
    ) noexcept nogil
    cdef uint64_t *place_for(
        self, uint64_t *group, uint64_t tag, const char *key, size_t length
    ) noexcept nogil
    cdef void empty(self, uint64_t *group) noexcept nogil
