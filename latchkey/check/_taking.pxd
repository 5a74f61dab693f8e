# Taking from limits, as declared for other compiled modules.

from libc.stdint cimport int64_t, uint64_t

from fastcache.shared._quotas cimport QuotaTable
from fastcache.shared._rates cimport RateTable, admits, lowers
from fastcache.shared._words cimport Counters
from latchkey.native._vector cimport expected, unexpected
from latchkey.native._words cimport load, load_relaxed


cdef extern from "_atomics.h":
    bint compare_exchange "fastcache_compare_exchange"(
        uint64_t *word, uint64_t expected, uint64_t desired
    ) noexcept nogil


cdef enum:
    ALL_TAKEN
    ONE_REFUSED
    ONE_NEEDS_STORE
    NO_ROOM                     # a row is not backed yet

cdef enum:
    MOST_STEPS = 8              # four of the key and four of the account
    DAY_MS = 86_400_000
    MOST_BOXES = 4096           # that divide rates


cdef enum Kind:
    RATE
    DEFAULT_RATE
    QUOTA


cdef struct Step:           # one limit
    Kind kind
    uint64_t row
    uint64_t interval       # nanoseconds for each unit of a rate; 1 for a quota
    uint64_t most           # the burst of a rate, or the quota
    uint64_t generation     # of a quota
    const char *shown       # its name in a header, and what follows up to the number
    size_t shown_size


cdef struct Taking:
    int index               # of the limit that decided, unless all were taken
    uint64_t wait           # nanoseconds until a refusing limit would admit; UINT64_MAX for never


cdef struct Shown:          # what is left of a limit
    uint64_t remaining
    uint64_t reset          # seconds until all of it is left; UINT64_MAX for never


cdef class Tables:          # the compiled tables of a LimitTables
    cdef RateTable rates
    cdef RateTable default_rates
    cdef QuotaTable quotas
    cdef Counters words
    cdef uint64_t *boxes    # the word with the number of boxes; NULL for one box


cdef Tables tables_of(object given)
# The state of a limit, or NULL if its row is not backed.
cdef uint64_t *words_of(Tables tables, Step *step) noexcept
# Take from all limits or from none; `now`, milliseconds since 1970, is read only for quotas.
cdef int take_all(
    Step *steps, int count, Tables tables, uint64_t cost, int64_t now, Taking *taking
) except -1
# The same without taking; `words` are those of the limits.
cdef int look_at_all(
    Step *steps, int count, Tables tables, uint64_t **words, uint64_t cost, int64_t now,
    Taking *taking
) except -1
cdef bint show(Step *step, Tables tables, int64_t now, Shown *shown) except -1


cdef inline uint64_t parts_of(Tables tables) noexcept:
    """The number of boxes that a rate is divided among."""
    cdef uint64_t boxes = 0 if tables.boxes == NULL else load_relaxed(tables.boxes)
    # Bounded, so that no content of the memory makes a product of it wrap.
    return min(boxes, <uint64_t>MOST_BOXES) if unexpected(boxes > 1) else 1


cdef inline uint64_t burst_of(Step *step, uint64_t parts) noexcept:
    """What one of several boxes admits at once."""
    return step.most if expected(parts == 1) else max(<uint64_t>1, step.most // parts)


cdef inline int take_rate(
    RateTable table, Step *step, uint64_t parts, uint64_t *word, uint64_t cost, uint64_t *after,
    Taking *taking
) except -1:
    cdef uint64_t interval = step.interval * parts
    cdef uint64_t most = burst_of(step, parts)
    cdef uint64_t seen, at
    while True:
        # Loaded before the clock is read: if the exchange succeeds, the reading is from between
        # the last change of the word and this one.
        seen = load(word)
        at = table.now()
        if not admits(interval, most, seen, at, cost, &taking.wait):
            if lowers(word, seen, at, interval * most):
                continue
            return ONE_REFUSED
        after[0] = max(seen, at) + interval * cost
        if expected(compare_exchange(word, seen, after[0])):
            return ALL_TAKEN


cdef inline int take_limits(
    Step *steps, int count, Tables tables, uint64_t cost, int64_t now, Taking *taking
) except -1:
    """`take_all`, without a call of another module for a single rate."""
    cdef uint64_t *word
    cdef uint64_t after
    if expected(count == 1) and expected(steps.kind == RATE):
        taking.index = 0
        word = tables.rates.arrivals.row_at(steps.row)
        if unexpected(word == NULL):
            return NO_ROOM
        return take_rate(tables.rates, steps, parts_of(tables), word, cost, &after, taking)
    return take_all(steps, count, tables, cost, now, taking)
