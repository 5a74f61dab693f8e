# cython: always_allow_keywords=False
"""Keyed BLAKE2b, as hashlib.blake2b(data, key=key, digest_size=size), ready to be repeated."""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_Check,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)

from fastcache._shared cimport text_of


@cython.final
@cython.auto_pickle(False)
cdef class KeyedDigest:
    """Digests of many messages under one secret key of 1 to 64 bytes.

    `size`, from 1 to 64, is that of a digest in bytes. The key is hashed once, here; a
    message of up to 128 bytes then takes one call of the compression function.
    """

    def __cinit__(self, key, size=16):
        if not PyBytes_Check(key):
            raise TypeError(f"key must be bytes, not {type(key).__name__}")
        if not 1 <= PyBytes_GET_SIZE(key) <= 64:
            raise ValueError(f"key must have 1 to 64 bytes, not {PyBytes_GET_SIZE(key)}")
        if not isinstance(size, int):
            raise TypeError(f"size must be an int, not {type(size).__name__}")
        if not 1 <= size <= 64:
            raise ValueError(f"size must be 1 to 64, not {size}")
        fastcache_blake2b_init(
            &self.key,
            <const unsigned char *>PyBytes_AS_STRING(key),
            <size_t>PyBytes_GET_SIZE(key),
            size,
        )

    @property
    def size(self):
        """The size of a digest in bytes."""
        return self.key.size

    cdef void compute(
        self, const unsigned char *data, size_t length, unsigned char *out
    ) noexcept nogil:
        """Write the digest of `length` bytes, `size` bytes long, to `out`."""
        fastcache_blake2b(&self.key, data, length, out)

    def digest(self, data):
        """The digest of bytes, or of a str as its UTF-8 bytes."""
        cdef size_t length = 0
        cdef const char *text = text_of(data, &length, "data")
        cdef bytes made = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>self.key.size)
        self.compute(
            <const unsigned char *>text, length, <unsigned char *>PyBytes_AS_STRING(made)
        )
        return made
