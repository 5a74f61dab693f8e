"""The settings of a cache: its limits, its timer and its measure of size.

They are separate from the cache, so that the cyclic collector can clear them (a timer can be a
method of the cache's owner) while the cache stays usable.

Instants are C doubles. A number from the timer is used unchanged, exact up to 2**53. A datetime
is converted to whole microseconds; its ttl is a timedelta.
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
# Not the module's attribute: freezegun replaces that, and its clock is not the system's.
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
        self.pinned = {}
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
        """A time of the timer as a C double."""
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
        """The current time of the timer, or its frozen time."""
        with cython.critical_section(self):
            if self.clock == CLOCK_FROZEN:
                return self.frozen
        if self.pinned:
            pinned = self.pinned.get(get_ident())
            if pinned is not None:
                return pinned[0]
        return self.timer()

    cdef object pin_time(self):
        """Pin the time for this thread until `unpin_time`, and return it. Calls may be nested.

        For operations that call a subclass, so that all its methods see the same time.
        """
        if self.timer is None:
            return None
        thread = get_ident()
        pinned = self.pinned.get(thread)
        if pinned is None:
            time = self.read()
            # The timer may have used the same cache in this thread; that operation is over.
            pinned = self.pinned[thread] = [time, 0]
        pinned[1] += 1
        return pinned[0]

    cdef int unpin_time(self) except -1:
        if self.timer is None:
            return 0
        thread = get_ident()
        pinned = self.pinned[thread]
        pinned[1] -= 1
        if pinned[1] == 0:
            del self.pinned[thread]
        return 0

    cdef double call_timer(self) except? -1.0:
        return self.instant(self.read())

    cdef double overflow(self) except -1.0:
        raise OverflowError("date value out of range")


# no_gc_clear: the settings are never cleared while a timer can be used.
@cython.final
@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class Timer:
    """A cache's timer: calls the timer that was passed to the cache, and has its attributes.

    `with cache.timer as time:` freezes the time of the cache, for all threads.
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
