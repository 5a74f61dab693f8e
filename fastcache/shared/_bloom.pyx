# cython: always_allow_keywords=False, cdivision=True
"""BloomFilter: determines from a few bits whether a digest may be in a set.

Bits are only ever set, each by one atomic instruction, so a process may die or stop at any point. A
process that reads a bit also sees everything that was written before the bit was set.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from fastcache.shared._words cimport Words


cdef extern from "_atomics.h":
    uint64_t fastcache_load(uint64_t *word) noexcept nogil
    void fastcache_set_bits(uint64_t *word, uint64_t bits) noexcept nogil


cdef enum:
    HASH_SIZE = 32
    PROBES = 4
    WORD_BITS = 64


@cython.final
@cython.auto_pickle(False)
@cython.no_gc_clear
cdef class BloomFilter(Words):
    """A set of digests with false positives but without false negatives.

    `bits` is a power of two, 64 or more. A digest has 32 random-looking bytes, such as those of
    SHA-256; each of its four 64-bit words selects one bit. With 20 bits per member, about one in a
    thousand lookups of other digests is a false positive; with 40 bits, one in ten thousand.
    Members cannot be removed. `memory` needs bits / 8 bytes; zeros are an empty set.
    """

    def __init__(self, bits=4194304, *, memory=None):
        if not isinstance(bits, int):
            raise TypeError(f"bits must be an int, not {type(bits).__name__}")
        if bits < WORD_BITS or bits & (bits - 1) != 0:
            raise ValueError(f"bits must be a power of two from {<int>WORD_BITS}, not {bits}")
        with cython.critical_section(self):
            self.map(bits // WORD_BITS, memory)
            self.mask = <uint64_t>bits - 1

    cdef const unsigned char *digest_in(self, object digest) except NULL:
        if not PyBytes_Check(digest):
            raise TypeError(f"digest must be bytes, not {type(digest).__name__}")
        if PyBytes_GET_SIZE(digest) != HASH_SIZE:
            raise ValueError(f"a digest has {<int>HASH_SIZE} bytes, not {len(digest)}")
        if self.words == NULL:
            raise RuntimeError("BloomFilter is not initialised")
        return <const unsigned char *>PyBytes_AS_STRING(digest)

    cdef uint64_t bit_of(self, const unsigned char *digest, int number) noexcept nogil:
        """The number of the bit that one word of the digest selects."""
        cdef uint64_t word
        memcpy(&word, digest + 8 * number, sizeof(word))
        return word & self.mask

    def add(self, digest):
        """Add a digest to the set."""
        cdef const unsigned char *data = self.digest_in(digest)
        cdef uint64_t bit
        cdef int number
        for number in range(PROBES):
            bit = self.bit_of(data, number)
            fastcache_set_bits(&self.words[bit // WORD_BITS], <uint64_t>1 << bit % WORD_BITS)

    def __contains__(self, digest):
        """Whether a digest may be a member; False means that it is not."""
        cdef const unsigned char *data = self.digest_in(digest)
        cdef uint64_t bit
        cdef int number
        for number in range(PROBES):
            bit = self.bit_of(data, number)
            if not fastcache_load(&self.words[bit // WORD_BITS]) >> bit % WORD_BITS & 1:
                return False
        return True
