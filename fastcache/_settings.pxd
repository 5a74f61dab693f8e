# What a cache was made with, as other compiled modules see it.

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
    cdef object getsizeof   # None: every item counts 1
    cdef object ttl
    cdef object timer
    cdef double span        # the ttl in the units of instant()
    cdef double latest      # the last deadline that the timer's type can express
    cdef bint calendar      # the timer gives datetimes, the ttl is a timedelta
    cdef Clock clock
    cdef Clock running      # the clock to go back to from CLOCK_FROZEN
    cdef Py_ssize_t nesting  # of `with cache.timer`
    cdef object frozen
    cdef dict held          # by thread: [the time it goes by, nesting], see hold

    cdef object read(self)
    cdef object hold(self)
    cdef int let_go(self) except -1
    cdef double instant(self, object time) except? -1.0
    cdef double call_timer(self) except? -1.0
    cdef double span_of(self, object ttl) except? -1.0
    cdef double overflow(self) except -1.0


cdef class Timer:
    cdef CacheSettings settings


cdef object capacity_of(object maxsize, object shards, object number)


cdef inline double now_of(CacheSettings settings) except? -1.0:
    """The instant that the cache's timer shows. A timer of the user's runs Python code."""
    if settings.clock == CLOCK_NATIVE:
        return fastcache_monotonic()
    if settings.clock == CLOCK_NONE:
        return 0.0
    return settings.call_timer()


cdef inline double deadline_of(CacheSettings settings, double now, double span) except? -1.0:
    """When an item stored at `now` expires."""
    cdef double deadline = now + span
    if deadline > settings.latest:
        settings.overflow()
    return deadline
