# Declarations for other compiled modules: the cache that processes share.

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from fastcache.shared._table cimport SharedTable


cdef class SharedCache(SharedTable):
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

    cdef bint read(
        self, uint64_t *slot, const char *key, size_t length, unsigned char *value,
        size_t *value_length, uint64_t *ticket, uint64_t *deadline,
    ) noexcept nogil
    cdef uint64_t *place_for(
        self, uint64_t *group, uint64_t tag, const char *key, size_t length
    ) noexcept nogil
    cdef void empty(self, uint64_t *group) noexcept nogil
