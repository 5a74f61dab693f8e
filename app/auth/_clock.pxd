# The clocks of the check, in whole numbers. The coarse ones lag by some ticks of the kernel's, and
# are read in a fraction of the time.

from libc.stdint cimport int64_t, uint64_t


cdef extern from "<time.h>" nogil:
    ctypedef int clockid_t
    ctypedef struct timespec:
        int64_t tv_sec
        int64_t tv_nsec
    int clock_gettime(clockid_t clock, timespec *time)
    const clockid_t CLOCK_MONOTONIC
    const clockid_t CLOCK_MONOTONIC_COARSE
    const clockid_t CLOCK_REALTIME
    const clockid_t CLOCK_REALTIME_COARSE


cdef enum:
    LAG_MS = 100            # how far a coarse clock is trusted not to lag: many ticks
    LAG_NS = 100_000_000


cdef inline uint64_t nanoseconds(clockid_t clock) noexcept nogil:
    cdef timespec now = timespec(0, 0)
    clock_gettime(clock, &now)
    return <uint64_t>now.tv_sec * 1_000_000_000 + <uint64_t>now.tv_nsec


cdef inline int64_t milliseconds(clockid_t clock) noexcept nogil:
    cdef timespec now = timespec(0, 0)
    clock_gettime(clock, &now)
    return now.tv_sec * 1000 + now.tv_nsec // 1_000_000
