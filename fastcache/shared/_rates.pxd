# Declarations for other compiled modules: rate limits that processes share.

from libc.stdint cimport UINT64_MAX, uint64_t

from fastcache.shared._tallies cimport Tallies


cdef extern from "_atomics.h":
    bint fastcache_compare_exchange(
        uint64_t *word, uint64_t expected, uint64_t desired
    ) noexcept nogil


cdef class Rate:
    cdef readonly uint64_t row
    cdef readonly uint64_t interval     # nanoseconds per unit
    cdef readonly uint64_t burst        # units
    cdef uint64_t span                  # nanoseconds: burst * interval


cdef class RateTable:
    cdef Tallies arrivals       # one word a row: when the bucket is full again
    cdef object timer           # None for CLOCK_BOOTTIME

    cdef uint64_t *word_of(self, Rate rate) except NULL
    # The number of the first rate that refuses, or -1 after all were taken. `at` is the clock
    # reading that decided; `wait` is how long the refusing rate would make the caller wait.
    cdef Py_ssize_t take_all(
        self, tuple rates, uint64_t cost, uint64_t *at, uint64_t *wait
    ) except -2
    cdef uint64_t now(self) except? 0
    cdef Tallies checked(self)


cdef inline uint64_t ahead(uint64_t word, uint64_t now) noexcept nogil:
    """How far the time of a full bucket lies in the future."""
    return word - now if word > now else 0


cdef inline bint admits(
    uint64_t interval, uint64_t burst, uint64_t word, uint64_t now, uint64_t cost, uint64_t *wait
) noexcept nogil:
    """Whether a rate admits this cost; otherwise `wait` is when it would, UINT64_MAX for never."""
    cdef uint64_t used, room
    if cost > burst:
        wait[0] = UINT64_MAX
        return False
    used = ahead(word, now)
    # The cost is at most the burst, so the product is at most that of a Rate, and cannot wrap.
    room = interval * (burst - cost)
    if used <= room:
        return True
    wait[0] = used - room
    return False


cdef inline bint lowers(uint64_t *word, uint64_t seen, uint64_t now, uint64_t span) noexcept nogil:
    """Lower a time that is further ahead than a rate with this span can set; then ask again.

    It is of a former rate of the row, whose bucket took longer to fill. The bucket is empty now.
    The clock must have been read after the word.
    """
    if ahead(seen, now) <= span:
        return False
    fastcache_compare_exchange(word, seen, now + span)
    return True
