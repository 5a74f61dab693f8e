"""What a cache was made with: its limits, its timer and its measure of size.

Apart from the cache, so that the cyclic collector may clear it (a timer can be a method
of the cache's owner) while the cache itself stays usable.

Instants are C doubles. A number that the timer gives is taken as it is, exact up to 2**53;
a datetime becomes whole microseconds, so that its ttl is a timedelta.
"""

cimport cython
from libc.math cimport INFINITY

from datetime import datetime, timedelta, timezone
from time import monotonic

_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_LATEST = (datetime.max - _EPOCH) // _MICROSECOND
_monotonic = monotonic


@cython.final
@cython.auto_pickle(False)
cdef class Settings:
    """Limits, timer and measure of one cache."""

    def __init__(self, object maxsize, object getsizeof=None, object ttl=None, object timer=None):
        self.maxsize = maxsize
        self.getsizeof = getsizeof
        self.ttl = ttl
        self.timer = timer
        if timer is None:
            self.clock = CLOCK_NONE
            self.span = INFINITY
            self.latest = INFINITY
            return
        if not callable(timer):
            raise TypeError(f"timer must be callable, not {type(timer).__name__}")
        native = timer is _monotonic and FASTCACHE_NATIVE_CLOCK
        self.clock = CLOCK_NATIVE if native else CLOCK_CALL
        self.calendar = isinstance(ttl, timedelta)
        if self.calendar and timer is _monotonic:
            raise TypeError("ttl must be a number of seconds, not timedelta, for this timer")
        self.span = self.span_of(ttl)
        self.latest = _LATEST if self.calendar else INFINITY

    cdef double instant(self, object time) except? -1.0:
        """The C form of a time that the timer gave."""
        if self.calendar:
            if not isinstance(time, datetime):
                raise TypeError(f"the timer gave {type(time).__name__} for a ttl of timedelta")
            origin = _EPOCH if time.tzinfo is None else _EPOCH_UTC
            return (time - origin) // _MICROSECOND
        return time

    cdef double span_of(self, object ttl) except? -1.0:
        """A ttl in the units of `instant`."""
        return ttl // _MICROSECOND if self.calendar else ttl

    cdef object read(self):
        """The time that the timer gives, or gave when it was frozen."""
        with cython.critical_section(self):
            if self.clock == CLOCK_FROZEN:
                return self.frozen
        return self.timer()

    cdef double call_timer(self) except? -1.0:
        return self.instant(self.read())

    cdef double overflow(self) except -1.0:
        raise OverflowError("date value out of range")


# no_gc_clear: what a timer reads is never taken away from it.
@cython.final
@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class Timer:
    """A cache's timer: calls the timer that the cache was given, and has its attributes.

    `with cache.timer as time:` freezes the cache's time, for all threads.
    """

    def __init__(self, Settings settings not None):
        self.settings = settings

    def __call__(self):
        return self.settings.read()

    def __enter__(self):
        cdef Settings settings = self.settings
        cdef object time = settings.read()
        with cython.critical_section(settings):
            if settings.nesting == 0:
                settings.frozen = time
                settings.running = settings.clock
                settings.clock = CLOCK_FROZEN
            settings.nesting += 1
        return time

    def __exit__(self, kind, error, traceback):
        cdef Settings settings = self.settings
        with cython.critical_section(settings):
            if settings.nesting == 0:
                raise RuntimeError("the timer is not frozen")
            settings.nesting -= 1
            if settings.nesting == 0:
                settings.clock = settings.running
                settings.frozen = None

    def __getattr__(self, name):
        return getattr(self.settings.timer, name)
