"""The mapping that LRUCache and TTLCache share: cachetools' methods over a store."""

cimport cython
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.math cimport INFINITY
from libc.stdint cimport uint32_t, uint64_t

from collections.abc import ItemsView, KeysView, Mapping, MutableMapping, ValuesView
from types import GenericAlias

from fastcache._cursor cimport PART_ITEM, PART_KEY, PART_VALUE, Cursor, cursor
from fastcache._garbage cimport Garbage, garbage_pairs, garbage_release, garbage_start
from fastcache._settings cimport CLOCK_NONE, deadline_of, now_of
from fastcache._shard cimport Entry, Shard, fastcache_give
from fastcache._store cimport (
    HOOK_DELETE,
    HOOK_EXPIRE,
    HOOK_LOOKUP,
    HOOK_MISSING,
    HOOK_POPITEM,
    HOOK_SIZE,
    Store,
)
from fastcache._stats import CacheStats


cdef extern from "Python.h":
    int Py_ReprEnter(object item) except -1
    void Py_ReprLeave(object item) noexcept

    ctypedef struct PyTypeObject:
        unsigned long tp_flags
    const unsigned long Py_TPFLAGS_MAPPING


cdef object _NO_DEFAULT = object()


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


def _one(value):
    """The size of a value where none is measured."""
    return 1


cdef Cursor values_of(Cache cache):
    return cursor(cache.settings, cache.shards, PART_VALUE)


cdef Cursor items_of(Cache cache):
    return cursor(cache.settings, cache.shards, PART_ITEM)


@cython.no_gc_clear
@cython.trashcan(True)
cdef class Cache(Store):
    """A bounded mapping that drops the least recently used items; see LRUCache, TTLCache."""

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
        cdef double deadline
        cdef Py_hash_t hash_value
        cdef Shard shard
        if self.hooks & (HOOK_DELETE | HOOK_POPITEM | HOOK_EXPIRE):
            self.assign_hooked(key, value)
            return
        size = self.size_of(value)
        hash_value = hash(key)
        now = now_of(self.settings)
        deadline = deadline_of(self.settings, now)
        shard = self.shard_of(hash_value)
        if size > shard.capacity:
            raise ValueError("value too large")
        garbage_start(&garbage)
        try:
            shard.put(key, hash_value, value, size, now, deadline, &garbage)
        finally:
            garbage_release(&garbage)

    cdef int assign_hooked(self, object key, object value) except -1:
        """Store an item where a subclass wants to see what has to go for it."""
        cdef Garbage garbage
        cdef double size
        cdef double now = 0.0
        cdef double deadline
        cdef Py_hash_t hash_value
        cdef Shard shard
        cdef uint32_t index
        cdef double before
        if self.settings.clock != CLOCK_NONE:
            time = self.settings.read()
            now = self.settings.instant(time)
            self.expire(time)
        deadline = deadline_of(self.settings, now)
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
            shard.put(key, hash_value, value, size, -INFINITY, deadline, &garbage)
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
        cdef double deadline
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
        deadline = deadline_of(self.settings, now)
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
            shard.store(index, key, hash_value, default, size, now, deadline, &garbage)
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
                raise KeyError(f"{type(self).__name__} is empty") from None
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

    @property
    def getsizeof(self):
        """The measure of a value's size: what the cache was given, or 1 for each."""
        measure = self.settings.getsizeof
        return _one if measure is None else measure

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


MutableMapping.register(Cache)
# What registering does for classes made in Python: `match` takes the instances for mappings.
(<PyTypeObject *>Cache).tp_flags |= Py_TPFLAGS_MAPPING
