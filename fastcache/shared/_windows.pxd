# Declarations for other compiled modules: counts within windows of time.

from libc.stdint cimport uint64_t

from fastcache.shared._words cimport Words


cdef class WindowTable(Words):
    cdef uint64_t mask          # maps a hash to the number of a group

    cdef uint64_t hit_hash(self, uint64_t hashed, uint64_t window, uint64_t limit) noexcept nogil
    cdef uint64_t count_hash(self, uint64_t hashed, uint64_t window) noexcept nogil
    cdef uint64_t *group_of(self, uint64_t hashed) noexcept nogil
    cdef int check(self) except -1
