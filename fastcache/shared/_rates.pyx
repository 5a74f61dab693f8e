# cython: always_allow_keywords=False, cdivision=True
"""RateTable: rate limits that many processes spend from, exact over all of them.

Each limit has one 64-bit word: the time when its bucket is full again, in nanoseconds of a clock
that all processes read. This is the generic cell rate algorithm (GCRA) of ITU-T I.371. Taking
`cost` units moves that time on by `cost * interval`, and is admitted if it is then no more than
`burst * interval` ahead. A refusal writes nothing, except that it lowers a time that is further
ahead than that: the row had another rate before, whose bucket took longer to fill.

A word is changed only by compare-exchange, and never under a lock: a process that is stopped or
killed in the middle of an update holds up nobody. It is loaded before the clock is read, so the
clock readings of successive admissions never decrease. So for every interval of such readings, the
units admitted are at most `burst + elapsed // interval`.
"""

from collections import namedtuple

cimport cython
from libc.stdint cimport UINT64_MAX, uint64_t

from fastcache.shared._tallies cimport Tallies
from fastcache.shared._words cimport word_from


cdef extern from "_atomics.h":
    uint64_t fastcache_load(uint64_t *word) noexcept nogil
    void fastcache_store(uint64_t *word, uint64_t value) noexcept nogil

cdef extern from "_clock.h":
    int FASTCACHE_BOOTTIME
    uint64_t fastcache_nanoseconds(int clock) noexcept nogil


cdef enum:
    MOST_RATES = 16

# 366 days in nanoseconds. Twice this, and any clock reading, fit into a word.
cdef uint64_t LONGEST = 366 * 86_400 * 1_000_000_000

Taken = namedtuple("Taken", ("at", "refused_by", "wait"), defaults=(None, None))
Taken.__doc__ = """The outcome of `RateTable.take`.

`at` is the clock reading that decided, in nanoseconds. `refused_by` is the index of the rate that
refused, None if all admitted. `wait` is then the time in nanoseconds after which that rate would
admit, None if it never would because the cost is above its burst.
"""

Level = namedtuple("Level", ("remaining", "full_in"))
Level.__doc__ = """What a rate has left.

`remaining` is whole units, and `full_in` the nanoseconds until all of its burst is left.
"""


@cython.final
@cython.auto_pickle(False)
cdef class Rate:
    """A limit: one unit every `interval` nanoseconds, at most `burst` at once.

    `row` is its place in the table; two rates with one row share what they spend. To admit `count`
    units per period and never more, round the interval up. Raises ValueError for an interval or a
    burst of 0, and if burst * interval is more than 366 days.
    """

    def __init__(self, row, interval, burst):
        cdef uint64_t number = word_from(row, "row")
        cdef uint64_t each = word_from(interval, "interval")
        cdef uint64_t most = word_from(burst, "burst")
        if each == 0:
            raise ValueError("interval must be >= 1")
        if most == 0:
            raise ValueError("burst must be >= 1")
        if most > LONGEST // each:
            raise ValueError("burst * interval must be at most 366 days")
        with cython.critical_section(self):
            if self.interval != 0:
                raise RuntimeError("Rate is already initialised")
            self.row = number
            self.interval = each
            self.burst = most
            self.span = each * most

    def __eq__(self, other):
        if not isinstance(other, Rate):
            return NotImplemented
        cdef Rate rate = <Rate>other
        return (
            self.row == rate.row and self.interval == rate.interval and self.burst == rate.burst
        )

    def __hash__(self):
        return hash((self.row, self.interval, self.burst))

    def __repr__(self):
        return f"Rate(row={self.row}, interval={self.interval}, burst={self.burst})"


@cython.final
@cython.auto_pickle(False)
cdef class RateTable:
    """The state of `rows` rates. Zeros are buckets that are full.

    `memory` needs 8 * rows bytes of address space, and `backed` limits it, as for Tallies. `timer`
    returns nanoseconds, the same in all processes that share the memory; the default is
    CLOCK_BOOTTIME, which goes on while the machine is suspended. After a restart of the machine,
    use new memory.
    """

    def __init__(self, rows, *, memory=None, backed=None, timer=None):
        if timer is not None and not callable(timer):
            raise TypeError(f"timer must be callable, not {type(timer).__name__}")
        arrivals = Tallies(("arrival",), rows, memory=memory, backed=backed)
        with cython.critical_section(self):
            if self.arrivals is not None:
                raise RuntimeError("RateTable is already initialised")
            self.arrivals = arrivals
            self.timer = timer

    @property
    def rows(self):
        """The number of rows."""
        return self.checked().rows

    @property
    def backed_rows(self):
        """The number of rows that are usable now."""
        return self.checked().backed_rows

    def take(self, rates, cost=1):
        """Take `cost` units from all of these rates, or from none; returns a Taken.

        All rates are asked before any is taken from, and they are taken from in their order. If
        another process takes the last units meanwhile, what was taken is given back; where a word
        has changed again since, it stays spent. So too little may be admitted, never too much.
        Raises IndexError for a row that is not backed, and ValueError for a cost of 0 or more than
        16 rates.
        """
        cdef uint64_t amount = word_from(cost, "cost")
        cdef uint64_t at = 0, wait = 0
        cdef Py_ssize_t refused
        if amount == 0:
            raise ValueError("cost must be >= 1")
        if not isinstance(rates, tuple):
            raise TypeError(f"rates must be a tuple, not {type(rates).__name__}")
        for rate in rates:
            if not isinstance(rate, Rate):
                raise TypeError(f"rates must contain Rate objects, not {type(rate).__name__}")
        self.checked()
        refused = self.take_all(<tuple>rates, amount, &at, &wait)
        if refused < 0:
            return Taken(at)
        return Taken(at, refused, None if wait == UINT64_MAX else wait)

    def level(self, rate):
        """What a rate has left now, as a Level, without taking any of it."""
        if not isinstance(rate, Rate):
            raise TypeError(f"rate must be a Rate, not {type(rate).__name__}")
        self.checked()
        cdef Rate one = <Rate>rate
        cdef uint64_t word = fastcache_load(self.word_of(one))
        cdef uint64_t used = min(ahead(word, self.now()), one.span)
        return Level((one.span - used) // one.interval, used)

    def reset(self, row):
        """Fill the bucket of a row. Raises IndexError if it is not backed."""
        cdef uint64_t *word = self.checked().row_at(word_from(row, "row"))
        if word == NULL:
            raise IndexError(f"row {row} is not backed")
        fastcache_store(word, 0)

    cdef Tallies checked(self):
        if self.arrivals is None:
            raise RuntimeError("RateTable is not initialised")
        return self.arrivals

    cdef uint64_t *word_of(self, Rate rate) except NULL:
        cdef uint64_t *word = self.arrivals.row_at(rate.row)
        if word == NULL:
            raise IndexError(f"row {rate.row} is not backed")
        return word

    cdef uint64_t now(self) except? 0:
        if self.timer is None:
            return fastcache_nanoseconds(FASTCACHE_BOOTTIME)
        return word_from(self.timer(), "the timer's result")

    cdef Py_ssize_t take_all(
        self, tuple rates, uint64_t cost, uint64_t *at, uint64_t *wait
    ) except -2:
        cdef uint64_t *words[MOST_RATES]
        cdef uint64_t after[MOST_RATES]
        cdef uint64_t seen
        cdef Py_ssize_t count = len(rates), i, k
        cdef Rate rate
        if count > MOST_RATES:
            raise ValueError(f"rates must be at most {<int>MOST_RATES}, not {count}")
        for i in range(count):
            words[i] = self.word_of(<Rate>rates[i])
        at[0] = self.now()
        # With one rate, the attempt to take asks as well.
        if count > 1:
            for i in range(count):
                rate = <Rate>rates[i]
                while True:
                    seen = fastcache_load(words[i])
                    if admits(rate.interval, rate.burst, seen, at[0], cost, wait):
                        break
                    if ahead(seen, at[0]) <= rate.span:
                        return i
                    # Another process may have read the clock later.
                    at[0] = self.now()
                    lowers(words[i], seen, at[0], rate.span)
        for i in range(count):
            rate = <Rate>rates[i]
            while True:
                # Loaded before the clock is read: if the exchange succeeds, the reading is from
                # between the last change of the word and this one.
                seen = fastcache_load(words[i])
                at[0] = self.now()
                if not admits(rate.interval, rate.burst, seen, at[0], cost, wait):
                    if lowers(words[i], seen, at[0], rate.span):
                        continue
                    for k in range(i):
                        fastcache_compare_exchange(
                            words[k], after[k], after[k] - (<Rate>rates[k]).interval * cost
                        )
                    return i
                after[i] = max(seen, at[0]) + rate.interval * cost
                if fastcache_compare_exchange(words[i], seen, after[i]):
                    break
        return -1
