# The counters of a worker's block that compiled code adds to.

from libc.stdint cimport uint64_t

from latchkey.native._vector cimport expected


cdef extern from "_atomics.h":
    void fastcache_add_relaxed(uint64_t *word, uint64_t amount) noexcept nogil
    void fastcache_add_alone(uint64_t *word, uint64_t amount) noexcept


cdef enum:                  # of a worker's block, as latchkey.box.counted.Count has them
    AUTHENTICATED = 0
    OPEN = 1
    CACHE_HIT = 2
    SHARED_HIT = 3
    STARTED = 4
    FINISHED = 5


cdef struct Block:
    uint64_t *words
    bint alone              # no other process counts there


cdef inline void count(Block *block, int index) noexcept:
    """Count in the worker's block."""
    if expected(block.alone):
        fastcache_add_alone(&block.words[index], 1)
    else:
        fastcache_add_relaxed(&block.words[index], 1)
