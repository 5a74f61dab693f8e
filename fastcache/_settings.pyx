"""What a cache was made with: its limits, its timer and its measure of size.

Apart from the cache, so that the cyclic collector may clear it (a timer can be a method
of the cache's owner) while the cache itself stays usable.

Instants are C doubles. A number that the timer gives is taken as it is, exact up to 2**53;
a datetime becomes whole microseconds, so that its ttl is a timedelta.
"""

cimport cython
from libc.math cimport INFINITY

import math
from _thread import get_ident
from datetime import datetime, timedelta, timezone
from time import monotonic
from types import BuiltinFunctionType

_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_LATEST = (datetime.max - _EPOCH) // _MICROSECOND
# No attribute of the module: freezegun replaces those, and its clock is not the system's.
cdef object _monotonic = monotonic if isinstance(monotonic, BuiltinFunctionType) else None


@cython.final
@cython.auto_pickle(False)
cdef class CacheSettings:
    """Limits, timer and measure of one cache."""

    def __init__(self, object maxsize, object getsizeof=None, object ttl=None, object timer=None):
        self.maxsize = maxsize
        self.getsizeof = getsizeof
        self.ttl = ttl
        self.timer = timer
        self.held = {}
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
        if self.held:
            held = self.held.get(get_ident())
            if held is not None:
                return held[0]
        return self.timer()

    cdef object hold(self):
        """The time; this thread goes by it until `let_go`. Calls may be nested.

        For steps that call a subclass, so that all of them see the same time.
        """
        if self.timer is None:
            return None
        thread = get_ident()
        held = self.held.get(thread)
        if held is None:
            time = self.read()
            # The timer may have run a step of the same cache, which has ended.
            held = self.held[thread] = [time, 0]
        held[1] += 1
        return held[0]

    cdef int let_go(self) except -1:
        if self.timer is None:
            return 0
        thread = get_ident()
        held = self.held[thread]
        held[1] -= 1
        if held[1] == 0:
            del self.held[thread]
        return 0

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

    def __init__(self, CacheSettings settings not None):
        self.settings = settings

    def __call__(self):
        return self.settings.read()

    def __enter__(self):
        cdef CacheSettings settings = self.settings
        cdef object time = settings.read()
        with cython.critical_section(settings):
            if settings.nesting == 0:
                settings.frozen = time
                settings.running = settings.clock
                settings.clock = CLOCK_FROZEN
            settings.nesting += 1
        return time

    def __exit__(self, kind, error, traceback):
        cdef CacheSettings settings = self.settings
        with cython.critical_section(settings):
            if settings.nesting == 0:
                raise RuntimeError("the timer is not frozen")
            settings.nesting -= 1
            if settings.nesting == 0:
                settings.clock = settings.running
                settings.frozen = None

    def __getattr__(self, name):
        return getattr(self.settings.timer, name)


cdef object capacity_of(object maxsize, object shards, object number):
    """The capacity of shard `number`. Finite capacities add up to at most `maxsize`."""
    if shards == 1 or math.isinf(maxsize):
        return maxsize
    whole, rest = divmod(math.floor(maxsize), shards)
    return whole + (number < rest)
