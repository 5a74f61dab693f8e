# What compiled code counts, and where: in a worker's block, and in a credential's row.
#
# Python has these numbers from _counters.pyx, and names those that follow in counter_names.py.

from libc.stdint cimport uint64_t

from latchkey.native._words cimport add


cpdef enum:                 # of a worker's block
    AUTHENTICATED = 0
    OPEN = 1
    CACHE_HIT = 2
    SHARED_HIT = 3
    STARTED = 4
    FINISHED = 5

cpdef enum:                 # of a credential's row
    USES = 0
    LAST_USED = 1
    FIRST_USED = 5
    SOURCE = 6


cdef struct CounterBlock:
    uint64_t *words
    bint alone              # no other process counts there


cdef inline void count(CounterBlock *block, int index) noexcept:
    """Count in the worker's block."""
    add(block.alone, &block.words[index], 1)
