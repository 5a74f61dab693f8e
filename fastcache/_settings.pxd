# Declarations for other compiled modules: the settings of a cache.

cdef extern from "_clock.h":
    const bint FASTCACHE_NATIVE_CLOCK
    double fastcache_monotonic() noexcept nogil
    double fastcache_monotonic_coarse() noexcept nogil
    double fastcache_monotonic_soon() noexcept nogil


cdef enum Clock:
    CLOCK_NONE      # nothing expires
    CLOCK_NATIVE    # time.monotonic, read from C
    CLOCK_CALL      # any other timer
    CLOCK_FROZEN    # stopped by `with cache.timer`


cdef class CacheSettings:
    cdef object maxsize
    cdef object getsizeof   # None: the size of every item is 1
    cdef object ttl
    cdef object timer
    cdef double span        # the ttl in the units of instant()
    cdef double latest      # the latest deadline that the timer's type can represent
    cdef bint calendar      # the timer returns datetimes, and the ttl is a timedelta
    cdef Clock clock
    cdef Clock running      # the clock to return to from CLOCK_FROZEN
    cdef Py_ssize_t nesting  # the depth of `with cache.timer`
    cdef object frozen
    cdef dict pinned          # by thread: [pinned time, depth]; see pin_time

    cdef object read(self)
    cdef object pin_time(self)
    cdef int unpin_time(self) except -1
    cdef double instant(self, object time) except? -1.0
    cdef double call_timer(self) except? -1.0
    cdef double span_of(self, object ttl) except? -1.0
    cdef double overflow(self) except -1.0


cdef class Timer:
    cdef CacheSettings settings


cdef object capacity_of(object maxsize, object shards, object number)


cdef inline double now_of(CacheSettings settings) except? -1.0:
    """The current time of the cache's timer. A custom timer runs Python code."""
    if settings.clock == CLOCK_NATIVE:
        return fastcache_monotonic()
    if settings.clock == CLOCK_NONE:
        return 0.0
    return settings.call_timer()


cdef inline double deadline_of(CacheSettings settings, double now, double span) except? -1.0:
    """The deadline of an item that is stored at `now`."""
    cdef double deadline = now + span
    if deadline > settings.latest:
        settings.overflow()
    return deadline
