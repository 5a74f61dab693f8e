"""What a cache was made with: its limits, its timer and its measure of size.

Apart from the cache, so that the cyclic collector may clear it (a timer can be a method
of the cache's owner) while the cache itself stays usable.

Instants are C doubles. A number that the timer gives is taken as it is, exact up to 2**53;
a datetime becomes whole microseconds, so that its ttl is a timedelta.
"""

cimport cython

from time import monotonic
from datetime import datetime, timedelta, timezone

from libc.math cimport INFINITY

_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_monotonic = monotonic


@cython.final
@cython.auto_pickle(False)
cdef class Settings:
    """Limits, timer and measure of one cache; never changed."""

    def __init__(self, object maxsize, object getsizeof=None, object ttl=None, object timer=None):
        self.maxsize = maxsize
        self.getsizeof = getsizeof
        self.ttl = ttl
        self.timer = timer
        if timer is None:
            self.clock = CLOCK_NONE
            self.span = INFINITY
            return
        if not callable(timer):
            raise TypeError(f"timer must be callable, not {type(timer).__name__}")
        native = timer is _monotonic and FASTCACHE_NATIVE_CLOCK
        self.clock = CLOCK_NATIVE if native else CLOCK_CALL
        self.calendar = isinstance(ttl, timedelta)
        self.span = ttl // _MICROSECOND if self.calendar else ttl

    cdef double instant(self, object time) except? -1.0:
        """The C form of a time that the timer gave."""
        if self.calendar:
            origin = _EPOCH if time.tzinfo is None else _EPOCH_UTC
            return (time - origin) // _MICROSECOND
        return time

    cdef double call_timer(self) except? -1.0:
        return self.instant(self.timer())
