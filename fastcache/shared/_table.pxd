# Declarations for other compiled modules: the memory of a SharedCache.

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from fastcache.shared._words cimport Words

# The header, by words: the constants, the counters of readers, and the counters of writers, each
# group in its own cache lines.
cdef enum:
    H_MAGIC = 0
    H_LAYOUT = 1
    H_GEOMETRY = 2      # slot size, ways
    H_SETS = 3
    H_EPOCH = 4         # incremented when the cache is cleared
    H_HITS = 8
    H_MISSES = 9
    H_RETRIES = 10
    H_PUTS = 16
    H_OVERSIZED = 17
    H_BUSY = 18
    H_EVICTIONS = 19
    H_RECOVERED = 20
    HEADER = 24

# A set: a cache line with the lock and the way at which the next eviction starts; the tags; the
# slots.
cdef enum:
    G_LOCK = 0
    G_HAND = 7
    G_TAGS = 8

# A slot: the first word is described in _seqlock.h. The second is 0 in an empty slot; otherwise it
# has the epoch in 32 bits, the key's length in 16 and the value's length in 16.
cdef enum:
    S_COUNT = 0
    S_META = 1
    S_TICKET = 2
    S_DEADLINE = 3
    S_BYTES = 4

cdef enum:
    WORD = 8
    LINE = 8            # words in a cache line


cdef uint64_t checked(object number, str name, uint64_t least, uint64_t most) except? 0
cdef Words area_of(object memory)
cdef int lay_out(Words area, object slot_size, object ways) except -1


cdef class SharedTable:
    cdef Words area             # owns the memory
    cdef uint64_t *words        # the start of the memory: the header
    cdef uint64_t sets
    cdef uint64_t ways
    cdef size_t set_words
    cdef size_t slot_words
    cdef size_t tag_words

    cdef int open(self, Words area) except -1
    cdef uint64_t *set_of(self, uint64_t hashed) noexcept nogil
    cdef uint64_t *slot_of(self, uint64_t *group, uint64_t way) noexcept nogil
    cdef bint is_live(self, uint64_t meta, uint64_t deadline, uint64_t now) noexcept nogil
    cdef uint64_t live_slots(self, uint64_t now) noexcept nogil
