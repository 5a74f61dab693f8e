# Taking from limits, as declared for other compiled modules.

from libc.stdint cimport int64_t, uint64_t

from fastcache.shared._quotas cimport QuotaTable
from fastcache.shared._rates cimport RateTable
from fastcache.shared._words cimport Counters


cdef enum:
    ALL_TAKEN
    ONE_REFUSED
    ONE_NEEDS_STORE
    NO_ROOM                     # a row is not backed yet

cdef enum:
    MOST_STEPS = 8              # four of the key and four of the account
    DAY_MS = 86_400_000


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
