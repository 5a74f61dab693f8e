# The memory of a SharedCache, as the code that reads and writes it sees it.

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from fastcache.shared._words cimport Words

# The header, by words: what does not change, then what readers count and what writers
# count, each in a cache line of its own.
cdef enum:
    H_MAGIC = 0
    H_LAYOUT = 1
    H_GEOMETRY = 2      # slot size, ways
    H_SETS = 3
    H_EPOCH = 4         # grows when the cache is cleared
    H_HITS = 8
    H_MISSES = 9
    H_RETRIES = 10
    H_PUTS = 16
    H_OVERSIZED = 17
    H_BUSY = 18
    H_EVICTIONS = 19
    H_RECOVERED = 20
    HEADER = 24

# A set: the lock, in a cache line with the way that the next eviction begins at; the tags;
# the slots.
cdef enum:
    G_LOCK = 0
    G_HAND = 7
    G_TAGS = 8

# A slot: see _seqlock.h for the first word. The second is 0 for an empty one, else the
# epoch in 32 bits, the key's length in 16 and the value's in 16.
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
    cdef Words area             # keeps the memory
    cdef uint64_t *words        # where it begins: the header
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
