# cython: always_allow_keywords=False, cdivision=True
"""Taking from several limits at once, and reading what is left of them.

All limits have to admit a request. They are all looked at before one is taken from, and then taken
from in their order: those of the key first, then those of its account. If another process takes the
last units meanwhile, what was taken is given back; where a word has changed again since, it stays
spent. So too little may be admitted, never too much.

If several boxes divide rates, each box has a part of a rate: its units take as many times longer,
and its burst is as many times smaller, at least 1.

A word is loaded before the clock is read, and both again when an exchange fails (fastcache.shared,
RateTable). A refusal writes nothing, except that it lowers the time of a former, slower rate.
"""

cimport cython
from libc.stdint cimport UINT64_MAX, int64_t, uint64_t

from fastcache.shared._quotas cimport (
    NEVER_ENDS,
    NOT_GRANTED,
    SPENT,
    Spending,
    Standing,
    read_standing,
    spend_units,
)
from fastcache.shared._rates cimport RateTable, admits, ahead, lowers
from latchkey.box._counters cimport BOXES
from latchkey.native._vector cimport unexpected
from latchkey.native._words cimport load


cdef uint64_t SECOND = 1_000_000_000


@cython.final
@cython.auto_pickle(False)
cdef class Tables:
    """The compiled tables of a LimitTables."""


cdef Tables tables_of(object given):
    cdef Tables tables = Tables.__new__(Tables)
    tables.rates = given.rates
    tables.default_rates = given.default_rates
    tables.quotas = given.quotas
    if tables.rates is None or tables.default_rates is None or tables.quotas is None:
        raise TypeError("the tables of limits are a LimitTables")
    tables.words = given.words
    tables.boxes = NULL if tables.words is None else tables.words.words + BOXES
    return tables


cdef inline RateTable rates_of(Tables tables, Step *step):
    return tables.rates if step.kind == RATE else tables.default_rates


cdef uint64_t *words_of(Tables tables, Step *step) noexcept:
    """The state of a limit; NULL if its row is not backed."""
    if step.kind == RATE:
        return tables.rates.arrivals.row_at(step.row)
    if step.kind == QUOTA:
        return tables.quotas.row_at(step.row)
    return tables.default_rates.arrivals.row_at(step.row)


cdef int decide_quota(
    Step *step, uint64_t *words, uint64_t cost, int64_t now, bint looks_only, uint64_t *after,
    Taking *taking
) noexcept:
    cdef uint64_t day = <uint64_t>now // DAY_MS
    cdef Spending spending
    cdef Standing standing
    taking.wait = UINT64_MAX
    if cost > step.most:
        return ONE_REFUSED
    spending = spend_units(words, step.generation, step.most, cost, day, looks_only, after)
    if spending == SPENT:
        return ALL_TAKEN
    if spending == NOT_GRANTED:
        return ONE_NEEDS_STORE
    read_standing(words, &standing)
    if day < standing.until_day and standing.until_day != NEVER_ENDS:
        taking.wait = (standing.until_day * DAY_MS - <uint64_t>now) * 1_000_000
    return ONE_REFUSED


cdef int look_at_rate(
    RateTable table, Step *step, uint64_t parts, uint64_t *word, uint64_t cost, Taking *taking
) except -1:
    cdef uint64_t interval = step.interval * parts
    cdef uint64_t most = burst_of(step, parts)
    cdef uint64_t seen, at
    while True:
        seen = load(word)
        at = table.now()
        if admits(interval, most, seen, at, cost, &taking.wait):
            return ALL_TAKEN
        if not lowers(word, seen, at, interval * most):
            return ONE_REFUSED


cdef int look_at_all(
    Step *steps, int count, Tables tables, uint64_t **words, uint64_t cost, int64_t now,
    Taking *taking
) except -1:
    """Look without taking. A refusal comes before a quota that needs the store."""
    cdef uint64_t parts = parts_of(tables)
    cdef uint64_t unused
    cdef Step *step
    cdef int verdict, found = ALL_TAKEN, index = -1, i
    for i in range(count):
        step = &steps[i]
        if step.kind == QUOTA:
            verdict = decide_quota(step, words[i], cost, now, True, &unused, taking)
        else:
            verdict = look_at_rate(rates_of(tables, step), step, parts, words[i], cost, taking)
        if verdict == ONE_REFUSED:
            taking.index = i
            return ONE_REFUSED
        if verdict == ONE_NEEDS_STORE and found == ALL_TAKEN:
            found = ONE_NEEDS_STORE
            index = i
    taking.index = index
    return found


cdef int take_all(
    Step *steps, int count, Tables tables, uint64_t cost, int64_t now, Taking *taking
) except -1:
    """Take from all limits or from none; `now` is read only for quotas."""
    cdef uint64_t parts = parts_of(tables)
    cdef uint64_t units
    cdef uint64_t *words[MOST_STEPS]
    cdef uint64_t after[MOST_STEPS]
    cdef Step *step
    cdef int verdict, i, k
    taking.index = 0
    taking.wait = UINT64_MAX
    for i in range(count):
        words[i] = words_of(tables, &steps[i])
        if unexpected(words[i] == NULL):
            taking.index = i
            return NO_ROOM
    # With one limit, the attempt to take looks as well.
    if count > 1:
        verdict = look_at_all(steps, count, tables, words, cost, now, taking)
        if verdict != ALL_TAKEN:
            return verdict
    for i in range(count):
        step = &steps[i]
        if step.kind == QUOTA:
            verdict = decide_quota(step, words[i], cost, now, False, &after[i], taking)
        else:
            verdict = take_rate(
                rates_of(tables, step), step, parts, words[i], cost, &after[i], taking
            )
        if unexpected(verdict != ALL_TAKEN):
            for k in range(i):
                step = &steps[k]
                units = cost if step.kind == QUOTA else step.interval * parts * cost
                compare_exchange(words[k], after[k], after[k] - units)
            taking.index = i
            return verdict
    return ALL_TAKEN


cdef bint show(Step *step, Tables tables, int64_t now, Shown *shown) except -1:
    """Read what is left; False for a quota of which nothing was granted in this period yet."""
    cdef uint64_t *words = words_of(tables, step)
    cdef uint64_t parts, interval, word, used, span
    if step.kind == QUOTA:
        return show_quota(step, words, now, shown)
    parts = parts_of(tables)
    interval = step.interval * parts
    word = 0 if words == NULL else load(words)
    span = interval * burst_of(step, parts)
    used = min(ahead(word, rates_of(tables, step).now()), span)
    shown.remaining = (span - used) // interval
    shown.reset = used // SECOND + (used % SECOND != 0)
    return True


cdef bint show_quota(Step *step, uint64_t *words, int64_t now, Shown *shown) noexcept:
    cdef uint64_t day = <uint64_t>now // DAY_MS
    cdef uint64_t used
    cdef Standing standing
    shown.remaining = step.most
    shown.reset = UINT64_MAX
    if words == NULL:
        return False
    read_standing(words, &standing)
    if standing.generation != (step.generation & 0xFFFFFF) or day >= standing.until_day:
        return False
    used = standing.spent + standing.elsewhere
    shown.remaining = step.most - used if used < step.most else 0
    if standing.until_day != NEVER_ENDS:
        shown.reset = (standing.until_day * DAY_MS - <uint64_t>now + 999) // 1000
    return True
