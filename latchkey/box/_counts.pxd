# The counters of a worker's block that compiled code adds to.

from libc.stdint cimport uint64_t

from latchkey.native._words cimport add


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
    add(block.alone, &block.words[index], 1)
