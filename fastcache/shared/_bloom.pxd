# Declarations for other compiled modules: a Bloom filter of digests.

from libc.stdint cimport uint64_t

from fastcache.shared._words cimport Words


cdef class BloomFilter(Words):
    cdef uint64_t mask          # maps a word of a digest to the number of a bit

    cdef uint64_t bit_of(self, const unsigned char *digest, int number) noexcept nogil
    cdef const unsigned char *digest_in(self, object digest) except NULL
