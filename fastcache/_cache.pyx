"""The mapping that LRUCache and TTLCache share.

A cache is a tuple of shards, of which a key's hash picks one. All that can run Python code
(hashing, the timer, the measure of size) is asked before the shard is changed; what a
change lets go is released after it.

A subclass that overrides a method is called where cachetools would call it; `hooks` tells
which, so that the classes themselves take the short way.
"""

cimport cython
from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.math cimport INFINITY
from libc.stdint cimport uint32_t, uint64_t

import copyreg
import math
from collections.abc import ItemsView, KeysView, Mapping, MutableMapping, ValuesView
from types import GenericAlias

from fastcache._cursor cimport PART_ITEM, PART_KEY, PART_VALUE, Cursor, cursor
from fastcache._settings cimport CLOCK_NONE, Settings, now_of
from fastcache._shard cimport (
    Entry,
    Garbage,
    Mark,
    Shard,
    fastcache_give,
    garbage_pairs,
    garbage_release,
    garbage_start,
    spread,
)
from fastcache._stats import CacheStats


cdef extern from "Python.h":
    void incref "Py_INCREF"(PyObject *reference) noexcept
    int Py_ReprEnter(object item) except -1
    void Py_ReprLeave(object item) noexcept


cdef enum:
    MOST_SHARDS = 1024

cdef object _NO_DEFAULT = object()
cdef tuple _HOOKS = (
    ("__missing__", HOOK_MISSING),
    ("__getitem__", HOOK_LOOKUP),
    ("__contains__", HOOK_LOOKUP),
    ("__setitem__", HOOK_STORE),
    ("__delitem__", HOOK_DELETE),
    ("popitem", HOOK_POPITEM),
    ("getsizeof", HOOK_SIZE),
    ("expire", HOOK_EXPIRE),
)


class _Values(ValuesView):
    """The values of a cache, read without touching their recency."""

    __slots__ = ()

    def __iter__(self):
        return values_of(self._mapping)


class _Items(ItemsView):
    """The items of a cache, each read at once and without touching its recency."""

    __slots__ = ()

    def __iter__(self):
        return items_of(self._mapping)


cdef Cursor values_of(Cache cache):
    return cursor(cache.settings, cache.shards, PART_VALUE)


cdef Cursor items_of(Cache cache):
    return cursor(cache.settings, cache.shards, PART_ITEM)


# no_gc_clear: the shards and the settings break cycles; a cache never loses its parts.
@cython.no_gc_clear
@cython.trashcan(True)
cdef class Cache:
    """A bounded mapping that drops the least recently used items; see LRUCache, TTLCache."""

    def __cinit__(self, *args, **kwargs):
        # A subclass may call methods before __init__, and copies are made without it.
        self.settings = Settings(0)
        self.shards = (Shard(self.settings, 0.0, False),)

    cdef int open(self, type base, Settings settings, object shards, bint reborn) except -1:
        """Make an empty cache; `base` is the class whose methods are not overrides."""
        cdef int hooks = 0
        cdef type cls = type(self)
        maxsize = settings.maxsize
        if not maxsize >= 0:
            raise ValueError("maxsize must be non-negative")
        if not isinstance(shards, int):
            raise TypeError(f"shards must be an int, not {type(shards).__name__}")
        if not 1 <= shards <= MOST_SHARDS:
            raise ValueError(f"shards must be from 1 to {MOST_SHARDS}")
        if shards > 1 and shards > maxsize:
            raise ValueError("shards must not exceed maxsize")
        if cls is not base:
            for name, hook in _HOOKS:
                if getattr(cls, name, None) is not getattr(base, name, None):
                    hooks |= hook
        if shards > 1 and hooks & (HOOK_POPITEM | HOOK_DELETE):
            raise TypeError(
                f"{cls.__name__} overrides popitem or __delitem__, which needs shards=1"
            )
        made = tuple([
            Shard(settings, capacity, reborn) for capacity in _capacities(maxsize, shards)
        ])
        self.hooks = hooks
        self.sized = settings.getsizeof is not None or (hooks & HOOK_SIZE) != 0
        self.settings = settings
        self.shards = made
        return 0

    # -------------------------------------------------------------- the parts

    cdef Shard shard_of(self, Py_hash_t hash_value):
        cdef tuple shards = self.shards
        cdef uint64_t count = <uint64_t>PyTuple_GET_SIZE(shards)
        cdef uint64_t index = ((spread(hash_value) >> 32) * count) >> 32
        return <Shard>PyTuple_GET_ITEM(shards, <Py_ssize_t>index)

    cdef double size_of(self, object value) except -1:
        cdef double size
        if not self.sized:
            return 1.0
        measure = self.settings.getsizeof
        size = self.getsizeof(value) if measure is None else measure(value)
        if size < 0:
            raise ValueError("value size must be non-negative")
        if not size < INFINITY:
            raise ValueError("value size must be finite")
        return size

    cdef PyObject *fetch(self, object key) except? NULL:
        cdef Py_hash_t hash_value = hash(key)
        cdef double now = now_of(self.settings)
        cdef Shard shard = self.shard_of(hash_value)
        return shard.fetch(key, hash_value, now)

    cdef int sweep(self, double now, Garbage *garbage) except -1:
        """Remove what has expired in all shards. Runs no Python code."""
        cdef tuple shards = self.shards
        cdef Py_ssize_t i
        for i in range(PyTuple_GET_SIZE(shards)):
            (<Shard>PyTuple_GET_ITEM(shards, i)).expire(now, garbage)
        return 0

    cdef int tidy(self) except -1:
        """Remove what has expired, as everything does that counts items."""
        cdef Garbage garbage
        cdef double now
        if self.settings.clock == CLOCK_NONE:
            return 0
        if self.hooks & HOOK_EXPIRE:
            self.expire(self.settings.timer())
            return 0
        now = now_of(self.settings)
        garbage_start(&garbage)
        try:
            self.sweep(now, &garbage)
        finally:
            garbage_release(&garbage)
        return 0

    cdef Shard fullest(self):
        """The shard nearest to its capacity, of those that hold anything; or None."""
        cdef tuple shards = self.shards
        cdef Shard best = None
        cdef Shard shard
        cdef Py_ssize_t i
        for i in range(PyTuple_GET_SIZE(shards)):
            shard = <Shard>PyTuple_GET_ITEM(shards, i)
            if shard.count != 0 and (
                best is None or shard.total * best.capacity > best.total * shard.capacity
            ):
                best = shard
        return best

    # -------------------------------------------------------------- looking up

    def __getitem__(self, key):
        cdef PyObject *value = self.fetch(key)
        if value != NULL:
            return fastcache_give(value)
        if self.hooks & HOOK_MISSING:
            return self.__missing__(key)
        raise KeyError(key)

    def __missing__(self, key):
        """What `cache[key]` gives for a missing key: a KeyError, unless overridden."""
        raise KeyError(key)

    def __contains__(self, key):
        cdef Py_hash_t hash_value = hash(key)
        cdef double now = now_of(self.settings)
        cdef Shard shard = self.shard_of(hash_value)
        cdef uint32_t index = shard.find(key, hash_value)
        return index != 0 and now < shard.entries[index].deadline

    def get(self, key, default=None):
        """The value of `key`, which becomes the most recently used; else `default`."""
        cdef PyObject *value
        if self.hooks & HOOK_LOOKUP:
            return self[key] if key in self else default
        value = self.fetch(key)
        if value == NULL:
            return default
        return fastcache_give(value)

    # -------------------------------------------------------------- changing

    def __setitem__(self, key, value):
        cdef Garbage garbage
        cdef double size
        cdef double now
        cdef Py_hash_t hash_value
        cdef Shard shard
        if self.hooks & (HOOK_DELETE | HOOK_POPITEM | HOOK_EXPIRE):
            self.assign_hooked(key, value)
            return
        size = self.size_of(value)
        hash_value = hash(key)
        now = now_of(self.settings)
        shard = self.shard_of(hash_value)
        if size > shard.capacity:
            raise ValueError("value too large")
        garbage_start(&garbage)
        try:
            shard.put(
                key, hash_value, value, size, now, now + self.settings.span, &garbage
            )
        finally:
            garbage_release(&garbage)

    cdef int assign_hooked(self, object key, object value) except -1:
        """Store an item where a subclass wants to see what has to go for it."""
        cdef Garbage garbage
        cdef double size
        cdef double now = 0.0
        cdef Py_hash_t hash_value
        cdef Shard shard
        cdef uint32_t index
        cdef double before
        if self.settings.clock != CLOCK_NONE:
            time = self.settings.timer()
            now = self.settings.instant(time)
            self.expire(time)
        size = self.size_of(value)
        hash_value = hash(key)
        shard = self.shard_of(hash_value)
        if size > shard.capacity:
            raise ValueError("value too large")
        while self.hooks & (HOOK_DELETE | HOOK_POPITEM):
            index = shard.find(key, hash_value)
            before = shard.entries[index].size if index != 0 else 0.0
            if not (shard.total - before + size > shard.capacity):
                break
            self.popitem()
            shard.evictions += 1
        garbage_start(&garbage)
        try:
            # Nothing is left to expire here, unless the subclass wants to keep it.
            shard.put(
                key, hash_value, value, size, -INFINITY, now + self.settings.span, &garbage
            )
        finally:
            garbage_release(&garbage)
        return 0

    def __delitem__(self, key):
        cdef Garbage garbage
        cdef Py_hash_t hash_value = hash(key)
        cdef double now = now_of(self.settings)
        cdef Shard shard = self.shard_of(hash_value)
        cdef uint32_t index = shard.find(key, hash_value)
        cdef bint expired
        if index == 0:
            raise KeyError(key)
        expired = not (now < shard.entries[index].deadline)
        shard.expirations += expired
        garbage_start(&garbage)
        try:
            shard.take(index, &garbage)
        finally:
            garbage_release(&garbage)
        if expired:
            raise KeyError(key)

    def pop(self, key, default=_NO_DEFAULT):
        """Remove `key` and return its value; else `default`, or a KeyError without one."""
        cdef Garbage garbage
        cdef Py_hash_t hash_value
        cdef double now
        cdef Shard shard
        cdef uint32_t index
        cdef object value
        if self.hooks & (HOOK_LOOKUP | HOOK_DELETE):
            if key in self:
                value = self[key]
                del self[key]
                return value
        else:
            hash_value = hash(key)
            now = now_of(self.settings)
            shard = self.shard_of(hash_value)
            index = shard.find(key, hash_value)
            if index != 0 and now < shard.entries[index].deadline:
                shard.hits += 1
                value = <object>shard.entries[index].value
                garbage_start(&garbage)
                try:
                    shard.take(index, &garbage)
                finally:
                    garbage_release(&garbage)
                return value
            shard.misses += 1
        if default is _NO_DEFAULT:
            raise KeyError(key)
        return default

    def setdefault(self, key, default=None):
        """The value of `key`; where there is none, `default`, which is stored."""
        cdef Garbage garbage
        cdef PyObject *found
        cdef Py_hash_t hash_value
        cdef double size
        cdef double now
        cdef Shard shard
        cdef uint32_t index
        if self.hooks & ~(HOOK_MISSING | HOOK_SIZE):
            if key in self:
                return self[key]
            self[key] = default
            return default
        found = self.fetch(key)
        if found != NULL:
            return fastcache_give(found)
        size = self.size_of(default)
        hash_value = hash(key)
        now = now_of(self.settings)
        shard = self.shard_of(hash_value)
        if size > shard.capacity:
            raise ValueError("value too large")
        garbage_start(&garbage)
        try:
            index = shard.find(key, hash_value)
            # Somebody may have stored it while the size was taken.
            if index != 0 and now < shard.entries[index].deadline:
                shard.touch(index)
                return <object>shard.entries[index].value
            shard.store(
                index, key, hash_value, default, size, now, now + self.settings.span, &garbage
            )
        finally:
            garbage_release(&garbage)
        return default

    def popitem(self):
        """Remove and return the least recently used `(key, value)` that has not expired.

        With several shards, the one of the fullest shard.
        """
        cdef Garbage expired
        cdef Garbage popped
        cdef double now
        cdef Shard shard
        cdef Entry *entry
        if self.hooks & HOOK_EXPIRE:
            self.tidy()
        now = now_of(self.settings)
        garbage_start(&expired)
        garbage_start(&popped)
        try:
            if not self.hooks & HOOK_EXPIRE:
                self.sweep(now, &expired)
            shard = self.fullest()
            if shard is None:
                raise KeyError(f"{type(self).__name__} is empty")
            if self.hooks & HOOK_DELETE:
                entry = &shard.entries[shard.entries[0].next_used]
                key = <object>entry.key
                value = <object>entry.value
                del self[key]
                return (key, value)
            shard.take(shard.entries[0].next_used, &popped)
            return garbage_pairs(&popped)[0]
        finally:
            garbage_release(&expired)
            garbage_release(&popped)

    def clear(self):
        """Remove everything."""
        cdef tuple shards = self.shards
        cdef Py_ssize_t i
        for i in range(PyTuple_GET_SIZE(shards)):
            (<Shard>PyTuple_GET_ITEM(shards, i)).clear()

    def update(self, *args, **kwargs):
        """Store many items, as MutableMapping.update does."""
        MutableMapping.update(self, *args, **kwargs)

    # -------------------------------------------------------------- counting

    def __len__(self):
        cdef tuple shards
        cdef Py_ssize_t i
        cdef Py_ssize_t count = 0
        self.tidy()
        shards = self.shards
        for i in range(PyTuple_GET_SIZE(shards)):
            count += (<Shard>PyTuple_GET_ITEM(shards, i)).count
        return count

    @property
    def maxsize(self):
        """The maximum size of the cache."""
        return self.settings.maxsize

    @property
    def currsize(self):
        """The current size of the cache: the sum of the sizes of its items."""
        cdef tuple shards
        cdef Py_ssize_t i
        cdef double total = 0.0
        self.tidy()
        shards = self.shards
        for i in range(PyTuple_GET_SIZE(shards)):
            total += (<Shard>PyTuple_GET_ITEM(shards, i)).total
        whole = int(total)
        return whole if whole == total else total

    def getsizeof(self, value):
        """The size of a value: 1, unless the cache was given a measure."""
        if self.settings.getsizeof is None:
            return 1
        return self.settings.getsizeof(value)

    def stats(self):
        """CacheStats: hits, misses, evictions, expirations, entries."""
        cdef tuple shards = self.shards
        cdef Shard shard
        cdef Py_ssize_t i
        cdef uint64_t hits = 0
        cdef uint64_t misses = 0
        cdef uint64_t evictions = 0
        cdef uint64_t expirations = 0
        cdef uint64_t entries = 0
        for i in range(PyTuple_GET_SIZE(shards)):
            shard = <Shard>PyTuple_GET_ITEM(shards, i)
            hits += shard.hits
            misses += shard.misses
            evictions += shard.evictions
            expirations += shard.expirations
            entries += shard.count
        return CacheStats(hits, misses, evictions, expirations, entries)

    # -------------------------------------------------------------- being a mapping

    def __iter__(self):
        return cursor(self.settings, self.shards, PART_KEY)

    def keys(self):
        """A view of the keys."""
        return KeysView(self)

    def values(self):
        """A view of the values."""
        return ValuesView(self) if self.hooks & HOOK_LOOKUP else _Values(self)

    def items(self):
        """A view of the items."""
        return ItemsView(self) if self.hooks & HOOK_LOOKUP else _Items(self)

    def __eq__(self, other):
        if not isinstance(other, Mapping):
            return NotImplemented
        return dict(self.items()) == dict(other.items())

    def __repr__(self):
        if Py_ReprEnter(self):
            return "{...}"
        try:
            currsize = self.currsize
            return "%s(%r, maxsize=%r, currsize=%r)" % (
                type(self).__name__,
                dict(items_of(self)),
                self.settings.maxsize,
                currsize,
            )
        finally:
            Py_ReprLeave(self)

    @classmethod
    def __class_getitem__(cls, item):
        return GenericAlias(cls, item)

    # -------------------------------------------------------------- copying

    def __copy__(self):
        cls = type(self)
        cdef Cache copy = cls.__new__(cls)
        copy.restore(self.state())
        return copy

    def __reduce__(self):
        return (copyreg.__newobj__, (type(self),), self.state())

    def __setstate__(self, state):
        self.restore(state)
        self.tidy()

    cdef tuple state(self):
        """Everything that makes the cache: attributes, settings, entries and their use.

        The entries are `(key, value, size, deadline)`, oldest first; the use is their
        indices, least recently used first.
        """
        cdef Settings settings = self.settings
        cdef Shard shard
        cdef Mark *marks
        cdef Entry *entry
        cdef uint32_t count = 0
        cdef uint32_t i
        cdef list entries = []
        cdef list use = []
        cdef dict numbers
        cdef bint reborn = False
        for item in self.shards:
            shard = item
            reborn = shard.reborn
            numbers = {}
            marks = shard.marks(False, &count)
            try:
                for i in range(count):
                    if marks[i].entry >= shard.used:
                        break
                    entry = &shard.entries[marks[i].entry]
                    if entry.serial == marks[i].serial:
                        numbers[marks[i].serial] = len(entries)
                        key = <object>entry.key
                        value = <object>entry.value
                        entries.append((key, value, entry.size, entry.deadline))
            finally:
                PyMem_Free(marks)
            marks = shard.marks(True, &count)
            try:
                for i in range(count):
                    if marks[i].serial in numbers:
                        use.append(numbers[marks[i].serial])
            finally:
                PyMem_Free(marks)
        made = (
            settings.maxsize, settings.getsizeof, settings.ttl, settings.timer,
            len(self.shards), reborn,
        )
        return (getattr(self, "__dict__", None), made, entries, use)

    cdef int restore(self, tuple state) except -1:
        cdef Garbage garbage
        cdef Shard shard
        cdef Py_hash_t hash_value
        cdef uint32_t index
        attributes, made, entries, use = state
        maxsize, getsizeof, ttl, timer, shards, reborn = made
        base = next(cls for cls in type(self).__mro__ if cls.__module__ == "fastcache._ttl")
        self.open(base, Settings(maxsize, getsizeof, ttl, timer), shards, reborn)
        if attributes:
            self.__dict__.update(attributes)
        for key, value, size, deadline in entries:
            hash_value = hash(key)
            shard = self.shard_of(hash_value)
            garbage_start(&garbage)
            try:
                shard.put(key, hash_value, value, size, -INFINITY, deadline, &garbage)
            finally:
                garbage_release(&garbage)
        for number in use:
            key = entries[number][0]
            hash_value = hash(key)
            shard = self.shard_of(hash_value)
            index = shard.find(key, hash_value)
            if index != 0:
                shard.touch(index)
        return 0


def _capacities(maxsize, shards):
    """The capacity of each shard; together they are maxsize at most."""
    if shards == 1 or math.isinf(maxsize):
        return [float(maxsize)] * shards
    whole, rest = divmod(math.floor(maxsize), shards)
    return [float(whole + (i < rest)) for i in range(shards)]


MutableMapping.register(Cache)
