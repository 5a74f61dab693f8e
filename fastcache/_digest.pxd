# Keyed digests, as other compiled modules use them.

cdef extern from "_blake2b.h":
    ctypedef struct Blake2bKey "fastcache_blake2b_key":
        size_t size
    void fastcache_blake2b_init(
        Blake2bKey *key, const unsigned char *bytes, size_t length, size_t size
    ) noexcept nogil
    void fastcache_blake2b(
        const Blake2bKey *key, const unsigned char *data, size_t length, unsigned char *out
    ) noexcept nogil
    bint fastcache_equal_digests(
        const unsigned char *left, const unsigned char *right, size_t size
    ) noexcept nogil


cdef class KeyedDigest:
    cdef Blake2bKey key

    cdef void compute(
        self, const unsigned char *data, size_t length, unsigned char *out
    ) noexcept nogil
