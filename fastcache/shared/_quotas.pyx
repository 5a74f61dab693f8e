# cython: always_allow_keywords=False, cdivision=True
"""QuotaTable: quotas that many processes spend from, never more than was granted.

Units are granted elsewhere, usually by a database: durably, before they are published here.
Processes spend published units by compare-exchange, and never more than was granted.

Grants are numbered by epochs: a new period, or a changed quota, begins a new epoch. A row has four
64-bit words, and each has the lowest 24 bits of an epoch, its tag, in its highest bits:

    spent       the units spent in that epoch, 40 bits
    granted     the units granted in that epoch, 40 bits
    until       the generation of the definition, 24 bits, and the UTC day on which the period ends,
                16 bits: 65535 for never
    elsewhere   the units that others have spent or reserved, 40 bits: only to tell what is left

Units are spent only if the first three tags are the same. A word is changed only by
compare-exchange, and never under a lock: a process that is stopped or killed in the middle of an
update holds up nobody, and the next one completes the publication.
"""

from collections import namedtuple

cimport cython
from libc.stdint cimport uint64_t

from fastcache.shared._tallies cimport Tallies
from fastcache.shared._words cimport word_from


cdef extern from "_atomics.h":
    uint64_t fastcache_load(uint64_t *word) noexcept nogil
    bint fastcache_raise_to(uint64_t *word, uint64_t value) noexcept nogil
    bint fastcache_compare_exchange(
        uint64_t *word, uint64_t expected, uint64_t desired
    ) noexcept nogil


cdef enum:
    SPENT_WORD = 0
    GRANTED_WORD = 1
    UNTIL_WORD = 2
    ELSEWHERE_WORD = 3
    AMOUNT_BITS = 40
    DAY_BITS = 16

cdef uint64_t MOST = (<uint64_t>1 << AMOUNT_BITS) - 1
cdef uint64_t TAGS = 0xFFFFFF

QuotaState = namedtuple(
    "QuotaState", ("epoch_tag", "spent", "granted", "generation", "until_day", "elsewhere")
)
QuotaState.__doc__ = """What a row says of the newest epoch in it.

`epoch_tag` and `generation` have 24 bits. `until_day` is the number of days from 1970 to the end of
the period, 65535 if it has no end. `elsewhere` is what was published as such.
"""


@cython.final
@cython.auto_pickle(False)
cdef class Quota:
    """A quota: `row` is its place in the table, `generation` that of its definition.

    `amount` is the quota itself, up to 2**40 - 1. With it, a quota that was granted completely
    refuses without asking for more; with None, it is not known.
    """

    def __init__(self, row, generation, amount=None):
        cdef uint64_t number = word_from(row, "row")
        cdef uint64_t defined = word_from(generation, "generation")
        cdef uint64_t most = 0 if amount is None else amount_from(amount, "amount")
        if amount is not None and most == 0:
            raise ValueError("amount must be >= 1")
        with cython.critical_section(self):
            if self.ready:
                raise RuntimeError("Quota is already initialised")
            self.row = number
            self.generation = defined
            self.most = most
            self.ready = True

    @property
    def amount(self):
        """The quota itself, or None."""
        return self.most or None

    def __eq__(self, other):
        if not isinstance(other, Quota):
            return NotImplemented
        cdef Quota quota = <Quota>other
        return (
            self.row == quota.row
            and self.generation == quota.generation
            and self.most == quota.most
        )

    def __hash__(self):
        return hash((self.row, self.generation, self.most))

    def __repr__(self):
        return f"Quota(row={self.row}, generation={self.generation}, amount={self.amount})"


cdef uint64_t amount_from(object number, str name) except? 0:
    cdef uint64_t amount = word_from(number, name)
    if amount > MOST:
        raise ValueError(f"{name} must be at most {MOST}, not {number}")
    return amount


cdef inline uint64_t tag_of(uint64_t word) noexcept nogil:
    return word >> AMOUNT_BITS


cdef inline uint64_t amount_in(uint64_t word) noexcept nogil:
    return word & MOST


cdef Spending spend_units(
    uint64_t *words, uint64_t generation, uint64_t most, uint64_t cost, uint64_t day,
    bint looks_only, uint64_t *after
) noexcept nogil:
    cdef uint64_t spent, granted, until, left
    while True:
        # Loaded first: if the exchange succeeds, the epoch had not changed since.
        spent = fastcache_load(&words[SPENT_WORD])
        granted = fastcache_load(&words[GRANTED_WORD])
        until = fastcache_load(&words[UNTIL_WORD])
        if (
            tag_of(granted) != tag_of(spent)
            or tag_of(until) != tag_of(spent)
            or (until >> DAY_BITS & TAGS) != (generation & TAGS)
            or day >= (until & 0xFFFF)
        ):
            return NOT_GRANTED
        left = 0
        if amount_in(granted) > amount_in(spent):
            left = amount_in(granted) - amount_in(spent)
        if cost > left:
            if most != 0 and amount_in(granted) >= most:
                return NOT_LEFT
            return NOT_GRANTED
        if looks_only:
            return SPENT
        after[0] = spent + cost
        if fastcache_compare_exchange(&words[SPENT_WORD], spent, spent + cost):
            return SPENT


cdef void read_standing(uint64_t *words, Standing *standing) noexcept nogil:
    cdef uint64_t spent = fastcache_load(&words[SPENT_WORD])
    cdef uint64_t granted = fastcache_load(&words[GRANTED_WORD])
    cdef uint64_t until = fastcache_load(&words[UNTIL_WORD])
    cdef uint64_t elsewhere = fastcache_load(&words[ELSEWHERE_WORD])
    cdef uint64_t tag = max(tag_of(spent), tag_of(granted), tag_of(until))
    standing.tag = tag
    standing.spent = amount_in(spent) if tag_of(spent) == tag else 0
    standing.granted = amount_in(granted) if tag_of(granted) == tag else 0
    standing.elsewhere = amount_in(elsewhere) if tag_of(elsewhere) == tag else 0
    standing.generation = until >> DAY_BITS & TAGS if tag_of(until) == tag else 0
    standing.until_day = until & 0xFFFF if tag_of(until) == tag else 0


@cython.final
@cython.auto_pickle(False)
cdef class QuotaTable:
    """The state of `rows` quotas. Zeros are a quota of which nothing was granted.

    `memory` needs 32 * rows bytes of address space, and `backed` limits it, as for Tallies.
    """

    def __init__(self, rows, *, memory=None, backed=None):
        words = Tallies(
            ("spent", "granted", "until", "elsewhere"), rows, memory=memory, backed=backed
        )
        with cython.critical_section(self):
            if self.words is not None:
                raise RuntimeError("QuotaTable is already initialised")
            self.words = words

    @property
    def rows(self):
        """The number of rows."""
        return self.checked().rows

    @property
    def backed_rows(self):
        """The number of rows that are usable now."""
        return self.checked().backed_rows

    def spend(self, quota, cost, day):
        """Spend `cost` units on a UTC day, given as the number of days since 1970.

        Returns True if they were spent; False if all of the quota's amount was granted in this
        epoch and too little is left; None if more has to be granted and published first, if the
        period has ended, or if the row is of another generation. Raises IndexError for a row that
        is not backed, and ValueError for a cost of 0.
        """
        if not isinstance(quota, Quota):
            raise TypeError(f"quota must be a Quota, not {type(quota).__name__}")
        cdef Quota one = <Quota>quota
        cdef uint64_t units = word_from(cost, "cost")
        cdef uint64_t today = word_from(day, "day")
        cdef uint64_t after = 0
        cdef Spending spending
        if units == 0:
            raise ValueError("cost must be >= 1")
        if one.most != 0 and units > one.most:
            return False
        spending = spend_units(
            self.found(one.row), one.generation, one.most, units, today, False, &after
        )
        if spending == SPENT:
            return True
        return False if spending == NOT_LEFT else None

    def publish(self, row, epoch, generation, granted, until_day, elsewhere=0):
        """Publish that `granted` units in all were granted in an epoch, durably.

        `until_day` is the UTC day on which the period ends, as a number of days since 1970, or
        65535 if it has no end. Within an epoch, the largest grant applies; an epoch that is older
        than the row's changes nothing. Returns None, or what was spent in the epoch that this call
        ended: a tuple of that epoch's tag and the units. The rest of its grant can be given back.
        Exactly one process gets it.
        """
        cdef uint64_t *words = self.found(row)
        cdef uint64_t tag = (word_from(epoch, "epoch") & TAGS) << AMOUNT_BITS
        cdef uint64_t defined = word_from(generation, "generation") & TAGS
        cdef uint64_t units = amount_from(granted, "granted")
        cdef uint64_t others = amount_from(elsewhere, "elsewhere")
        cdef uint64_t day = word_from(until_day, "until_day")
        cdef uint64_t spent, former, told
        if day > NEVER_ENDS:
            raise ValueError(f"until_day must be at most {<int>NEVER_ENDS}, not {until_day}")
        former = fastcache_load(&words[GRANTED_WORD])
        fastcache_raise_to(&words[UNTIL_WORD], tag | defined << DAY_BITS | day)
        fastcache_raise_to(&words[GRANTED_WORD], tag | units)
        told = fastcache_load(&words[ELSEWHERE_WORD])
        if told >> AMOUNT_BITS <= tag >> AMOUNT_BITS:
            # If another process changes it meanwhile, that one's is as new.
            fastcache_compare_exchange(&words[ELSEWHERE_WORD], told, tag | others)
        while True:
            spent = fastcache_load(&words[SPENT_WORD])
            if tag_of(spent) >= tag_of(tag):
                return None
            if fastcache_compare_exchange(&words[SPENT_WORD], spent, tag):
                # A row that was never used has nothing to give back.
                return None if spent == 0 and former == 0 else (tag_of(spent), amount_in(spent))

    def state(self, row):
        """What a row says, as a QuotaState."""
        cdef Standing standing
        read_standing(self.found(row), &standing)
        return QuotaState(
            standing.tag, standing.spent, standing.granted, standing.generation,
            standing.until_day, standing.elsewhere,
        )

    cdef Tallies checked(self):
        if self.words is None:
            raise RuntimeError("QuotaTable is not initialised")
        return self.words

    cdef uint64_t *row_at(self, uint64_t row) noexcept nogil:
        return self.words.row_at(row)

    cdef uint64_t *found(self, object row) except NULL:
        cdef uint64_t *words = self.checked().row_at(word_from(row, "row"))
        if words == NULL:
            raise IndexError(f"row {row} is not backed")
        return words
