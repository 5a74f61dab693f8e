"""LRUCache and TTLCache: compiled, sharded, thread-safe, with cachetools' semantics."""

cimport cython

from time import monotonic

from fastcache._cache cimport Cache
from fastcache._garbage cimport Garbage, garbage_pairs, garbage_release, garbage_start
from fastcache._settings cimport CacheSettings, Timer
from fastcache._store cimport now_in, settings_of

cdef object _monotonic = monotonic


@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class LRUCache(Cache):
    """A mapping of bounded size that evicts the least recently used items.

    `maxsize` is a number of items, or of the unit that `getsizeof(value)` returns. With `shards=n`
    the capacity is divided among n independent parts, each with its own order of use; the default,
    1, keeps one exact order.
    """

    def __init__(self, maxsize, getsizeof=None, *, shards=1):
        self.open(LRUCache, CacheSettings(maxsize, getsizeof), shards, False)

    def set_many(self, items, /):
        """Store the items of a mapping or of an iterable of pairs, in order."""
        self.assign_many(items, None)


@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class TTLCache(Cache):
    """An LRUCache whose items also expire, `ttl` after they were stored.

    `ttl` is in the unit of `timer()`: seconds by default, a timedelta if the timer returns
    datetimes. An expired item is never returned. It is removed when an item is stored, when items
    are counted, and by `expire`. `set` stores an item with its own TTL.

    With the default timer and a ttl of a second or more, an item may expire a few milliseconds
    early (a tick of the kernel's clock), but never late; per-item TTLs are exact.
    """

    def __init__(self, maxsize, ttl, timer=_monotonic, getsizeof=None, *, shards=1):
        if timer is None:
            raise TypeError("timer must be callable, not NoneType")
        self.open(TTLCache, CacheSettings(maxsize, getsizeof, ttl, timer), shards, True)

    def set(self, key, value, *, ttl=None):
        """Store an item with its own `ttl`; None means the cache's.

        It works like `cache[key] = value` of this class, even if a subclass overrides that.
        """
        self.assign(key, value, ttl)

    def set_many(self, items, /, *, ttl=None):
        """Store the items of a mapping or of an iterable of pairs, each as by `set`."""
        self.assign_many(items, ttl)

    @property
    def ttl(self):
        """The time-to-live of the cache's items."""
        return (<CacheSettings>settings_of(self)).ttl

    @property
    def timer(self):
        """The timer of the cache: a callable, and a context manager that freezes it."""
        return Timer(<CacheSettings>settings_of(self))

    def expire(self, time=None):
        """Remove the items that have expired at `time`, or now, and return them as a list of
        `(key, value)`.
        """
        cdef Garbage garbage
        cdef double now
        if time is None:
            now = now_in(self)
        else:
            now = (<CacheSettings>settings_of(self)).instant(time)
        garbage_start(&garbage)
        try:
            self.sweep(now, &garbage)
            return garbage_pairs(&garbage)
        finally:
            garbage_release(&garbage)
