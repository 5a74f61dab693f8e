# cython: always_allow_keywords=False, cdivision=True
"""WindowTable: counts events per key within the current window of time.

The table has a fixed size: a key belongs to one group of eight slots, and each slot is one word,
changed only by compare-exchange. There is no intermediate state between two such changes, so a
process may die or stop at any point.

A word consists of, from the highest bits: 32 bits of the key's hash, 12 bits of the window's
number, 20 bits of the count. An unused word is 0, because a count in use is at least 1.
"""

cimport cython
from libc.stdint cimport uint64_t

from fastcache.shared._words cimport Words, word_from


cdef extern from "_atomics.h":
    uint64_t fastcache_load(uint64_t *word) noexcept nogil
    bint fastcache_compare_exchange(
        uint64_t *word, uint64_t expected, uint64_t desired
    ) noexcept nogil


cdef enum:
    WAYS = 8
    COUNT_BITS = 20
    WINDOW_BITS = 12
    TAG_SHIFT = 32

cdef uint64_t COUNT_MASK = (1 << COUNT_BITS) - 1
cdef uint64_t WINDOW_MASK = (1 << WINDOW_BITS) - 1
# One less than the maximum, because limit + 1 is returned for "more than the limit".
cdef uint64_t MAX_LIMIT = COUNT_MASK - 1
# How far a slot's window may be ahead of the caller's: time passes between reading the clock and
# use.
cdef uint64_t AHEAD = 2


cdef inline uint64_t age_of(uint64_t word, uint64_t window) noexcept nogil:
    """How many windows ago a slot was last counted; 0 for the current window or one ahead."""
    cdef uint64_t age = (window - (word >> COUNT_BITS)) & WINDOW_MASK
    return 0 if age > WINDOW_MASK - AHEAD else age


@cython.final
@cython.auto_pickle(False)
@cython.no_gc_clear
cdef class WindowTable(Words):
    """Counts of keys within windows, for rate limits; `slots` is a power of two, 8 or more.

    The caller numbers the windows, for instance by a clock divided by their length. A count belongs
    to one window, and starts from zero in the next. If there are more keys than slots, the keys of
    the oldest window are evicted first, then those with the smallest count.

    A key is a 64-bit hash; callers who choose keys must not be able to predict it. Two keys in the
    same group with 32 equal bits of the hash are counted as one. A count that was last changed
    4,094 to 4,096 windows ago, and was not evicted since, may be mistaken for a current one.
    `memory` needs 8 * slots bytes; zeros are an empty table.
    """

    def __init__(self, slots=4096, *, memory=None):
        if not isinstance(slots, int):
            raise TypeError(f"slots must be an int, not {type(slots).__name__}")
        if slots < WAYS or slots & (slots - 1) != 0:
            raise ValueError(f"slots must be a power of two from {<int>WAYS}, not {slots}")
        with cython.critical_section(self):
            self.map(slots, memory)
            self.mask = <uint64_t>slots // WAYS - 1

    def hit(self, key_hash, window, limit):
        """Count a key once in a window, and return its count there.

        Events beyond `limit` (0 to 1,048,574) are not counted; limit + 1 is then returned.
        """
        cdef uint64_t hashed = word_from(key_hash, "key_hash")
        cdef uint64_t number = word_from(window, "window")
        cdef uint64_t most = word_from(limit, "limit")
        if most > MAX_LIMIT:
            raise ValueError(f"limit must be up to {MAX_LIMIT}, not {limit}")
        self.check()
        return self.hit_hash(hashed, number, most)

    def count(self, key_hash, window):
        """The count of a key in a window, without changing it."""
        cdef uint64_t hashed = word_from(key_hash, "key_hash")
        cdef uint64_t number = word_from(window, "window")
        self.check()
        return self.count_hash(hashed, number)

    cdef int check(self) except -1:
        if self.words == NULL:
            raise RuntimeError("WindowTable is not initialised")
        return 0

    cdef uint64_t *group_of(self, uint64_t hashed) noexcept nogil:
        """The slots of a key, selected by other bits of the hash than its tag."""
        return &self.words[(hashed & self.mask) * WAYS]

    cdef uint64_t hit_hash(self, uint64_t hashed, uint64_t window, uint64_t limit) noexcept nogil:
        """Like `hit`, for an initialised table and a valid limit."""
        cdef uint64_t *group = self.group_of(hashed)
        cdef uint64_t tag = hashed >> TAG_SHIFT
        cdef uint64_t word = 0, found, count, new
        while True:
            found = slot_for(group, tag, window, &word)
            if word >> TAG_SHIFT == tag and word != 0 and age_of(word, window) == 0:
                count = word & COUNT_MASK
                if count > limit:
                    return limit + 1
                # Count in the window of the slot, which may be ahead.
                count += 1
                new = word + 1
            else:
                count = 1
                new = tag << TAG_SHIFT | (window & WINDOW_MASK) << COUNT_BITS | count
            if fastcache_compare_exchange(&group[found], word, new):
                return count

    cdef uint64_t count_hash(self, uint64_t hashed, uint64_t window) noexcept nogil:
        """Like `count`, for an initialised table."""
        cdef uint64_t *group = self.group_of(hashed)
        cdef uint64_t word, way
        for way in range(<uint64_t>WAYS):
            word = fastcache_load(&group[way])
            if word != 0 and word >> TAG_SHIFT == hashed >> TAG_SHIFT:
                return word & COUNT_MASK if age_of(word, window) == 0 else 0
        return 0


cdef uint64_t slot_for(
    uint64_t *group, uint64_t tag, uint64_t window, uint64_t *word
) noexcept nogil:
    """The slot of a key, or the slot to evict: an unused one, the oldest, or the least counted.

    Both are determined in one pass. So if two threads add the same key at the same time, one of
    them finds its slot changed and starts again. If the group changes between their passes, each
    may use another slot.
    """
    cdef uint64_t best = 0, oldest = 0, least = 0, seen, age, count, way
    for way in range(<uint64_t>WAYS):
        seen = fastcache_load(&group[way])
        if seen != 0 and seen >> TAG_SHIFT == tag:
            word[0] = seen
            return way
        # Older than any slot in use.
        age = WINDOW_MASK + 1 if seen == 0 else age_of(seen, window)
        count = seen & COUNT_MASK
        if way == 0 or age > oldest or age == oldest and count < least:
            best = way
            oldest = age
            least = count
            word[0] = seen
    return best
