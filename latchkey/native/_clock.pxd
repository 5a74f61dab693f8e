# Clocks for the check, as integers. The coarse clocks lag by a few kernel ticks, and are much
# faster to read.

from libc.stdint cimport int64_t, uint64_t

from latchkey.native._vector cimport expected, unexpected


cdef extern from "_clock.h":
    ctypedef int clockid_t
    const clockid_t CLOCK_MONOTONIC "FASTCACHE_MONOTONIC"
    const clockid_t CLOCK_MONOTONIC_COARSE "FASTCACHE_MONOTONIC_COARSE"
    const clockid_t CLOCK_BOOTTIME "FASTCACHE_BOOTTIME"
    const clockid_t CLOCK_REALTIME
    const clockid_t CLOCK_REALTIME_COARSE "FASTCACHE_REALTIME_COARSE"
    uint64_t nanoseconds "fastcache_nanoseconds"(clockid_t clock) noexcept nogil
    int64_t milliseconds "fastcache_milliseconds"(clockid_t clock) noexcept nogil


cdef enum:
    LAG_MS = 100            # upper bound of the lag of a coarse clock: many ticks
    LAG_NS = 100_000_000


cdef inline bint is_running(uint64_t deadline, uint64_t coarse) noexcept nogil:
    """Whether a deadline is in the future; `coarse` is the time of CLOCK_MONOTONIC_COARSE."""
    return expected(coarse + LAG_NS < deadline) or nanoseconds(CLOCK_MONOTONIC) < deadline


cdef inline bint has_expired(int64_t expires, int64_t now) noexcept nogil:
    """Whether `expires` has passed; `now` is the time of the coarse clock."""
    return unexpected(expires <= now + LAG_MS) and expires <= milliseconds(CLOCK_REALTIME)
