# cython: always_allow_keywords=False
"""Keyed digests of 16 bytes, by the algorithm that is fastest on this processor."""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_Check,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)

from fastcache.shared._words cimport text_of


@cython.final
@cython.auto_pickle(False)
cdef class KeyedDigest:
    """Digests of many messages under one secret key of 1 to 64 bytes, which is hashed once.

    A digest has 16 bytes, and must be compared only on the machine that computed it. If
    `algorithm` is "sha256", because the processor has instructions for it, a digest is the
    beginning of sha256(key.ljust(64, bytes(1)) + data). If it is "blake2b", a digest is
    blake2b(data, key=key, digest_size=16).
    """

    algorithm = "sha256" if fastcache_digests_by_sha256() else "blake2b"

    def __cinit__(self, key):
        if not PyBytes_Check(key):
            raise TypeError(f"key must be bytes, not {type(key).__name__}")
        if not 1 <= PyBytes_GET_SIZE(key) <= 64:
            raise ValueError(f"key must have 1 to 64 bytes, not {PyBytes_GET_SIZE(key)}")
        fastcache_digest_init(
            &self.key,
            <const unsigned char *>PyBytes_AS_STRING(key),
            <size_t>PyBytes_GET_SIZE(key),
        )

    def digest(self, data):
        """The digest of bytes, or of the UTF-8 bytes of a str."""
        cdef size_t length = 0
        cdef const char *text = text_of(data, &length, "data")
        cdef bytes made = PyBytes_FromStringAndSize(NULL, DIGEST_SIZE)
        fastcache_digest(
            &self.key,
            <const unsigned char *>text,
            length,
            <unsigned char *>PyBytes_AS_STRING(made),
        )
        return made
