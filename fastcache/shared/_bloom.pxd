# A set of digests that may say yes too often, as other compiled modules see it.

from libc.stdint cimport uint64_t

from fastcache.shared._words cimport Words


cdef class BloomFilter(Words):
    cdef uint64_t mask          # of a digest's word, for the number of a bit

    cdef uint64_t bit_of(self, const unsigned char *digest, int number) noexcept nogil
    cdef const unsigned char *digest_in(self, object digest) except NULL
