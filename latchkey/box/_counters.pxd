# The counters and fields that compiled code writes: in a worker's block and in a credential's row.
#
# _counters.pyx gives Python these numbers; counter_names.py names the counters that follow them.

from libc.stdint cimport uint64_t

from latchkey.native._words cimport add


cpdef enum:                 # of a worker's block
    AUTHENTICATED = 0
    OPEN = 1
    CACHE_HIT = 2
    SHARED_HIT = 3
    STARTED = 4
    FINISHED = 5
    RATES_ADMITTED = 6
    QUOTAS_ADMITTED = 7

cpdef enum:                 # of a credential's row
    USES = 0
    LAST_USED = 1
    FIRST_USED = 5
    SOURCE = 6

cpdef enum:                 # of the single words
    FRESH_UNTIL = 3
    BOXES = 8


cdef struct CounterBlock:
    uint64_t *words
    bint alone              # no other process writes to the block


cdef inline void count(CounterBlock *block, int index) noexcept:
    """Increment a counter of the worker's block."""
    add(block.alone, &block.words[index], 1)


cdef inline void count_taken(CounterBlock *block, bint from_rates, bint from_quotas) noexcept:
    """Count that a request has taken from its limits."""
    if from_rates:
        count(block, RATES_ADMITTED)
    if from_quotas:
        count(block, QUOTAS_ADMITTED)
