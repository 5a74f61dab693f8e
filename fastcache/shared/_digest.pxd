# Declarations for other compiled modules: keyed digests.

cdef extern from "_digest.h":
    enum:
        DIGEST_SIZE "FASTCACHE_DIGEST"
    ctypedef struct DigestKey "fastcache_digest_key":
        pass
    void fastcache_digest_init(
        DigestKey *key, const unsigned char *bytes, size_t length
    ) noexcept nogil
    void fastcache_digest(
        const DigestKey *key, const unsigned char *data, size_t length, unsigned char *out
    ) noexcept nogil
    bint fastcache_equal_digests(
        const unsigned char *left, const unsigned char *right
    ) noexcept nogil
    bint fastcache_digests_by_sha256() noexcept nogil


cdef class KeyedDigest:
    cdef DigestKey key
