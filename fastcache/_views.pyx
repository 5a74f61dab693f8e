"""The views of a cache, and lookups through a subclass's overrides."""

from cpython.object cimport PyObject

from collections.abc import ItemsView, ValuesView

from fastcache._cursor cimport PART_ITEM, PART_KEY, PART_VALUE, Cursor, cursor
from fastcache._hooks cimport HOOK_ITER, HOOK_LOOKUP, HOOK_MISSING
from fastcache._settings cimport CacheSettings
from fastcache._shard cimport fastcache_give
from fastcache._snapshot cimport Removals, removed_by_others, removals_of
from fastcache._store cimport ShardedStore, lookup, settings_of, shards_of


cdef extern from "Python.h":
    void decref "Py_DECREF"(PyObject *reference) noexcept


cdef object NOTHING = object()


cdef bint holds(ShardedStore cache, object key) except -1:
    """`key in cache`, without calling an override."""
    cdef PyObject *value = lookup(cache, <PyObject *>key, False)
    if value == NULL:
        return False
    decref(value)
    return True


cdef object hooked_lookup(ShardedStore cache, object key):
    """Look up `key` by a subclass's overrides, which see one time; NOTHING if it is missing."""
    cdef CacheSettings settings = <CacheSettings>settings_of(cache)
    cdef Removals before = removals_of(<tuple>shards_of(cache))
    settings.pin_time()
    try:
        return read_pinned(cache, key, before) if key in cache else NOTHING
    finally:
        settings.unpin_time()


cdef object read_pinned(ShardedStore cache, object key, Removals before):
    """`cache[key]`; NOTHING if another thread has removed the key since `before`."""
    cdef bint there = holds(cache, key)
    try:
        return cache[key]
    except KeyError:
        if there and not holds(cache, key) or removed_by_others(<tuple>shards_of(cache), before):
            return NOTHING
        raise


cdef Cursor keys_of(ShardedStore cache):
    return cursor(<CacheSettings>settings_of(cache), <tuple>shards_of(cache), PART_KEY)


cdef Cursor values_of(ShardedStore cache):
    return cursor(<CacheSettings>settings_of(cache), <tuple>shards_of(cache), PART_VALUE)


cdef Cursor items_of(ShardedStore cache):
    return cursor(<CacheSettings>settings_of(cache), <tuple>shards_of(cache), PART_ITEM)


class Values(ValuesView):
    """The values of a cache, read without an effect on their recency."""

    __slots__ = ()

    def __iter__(self):
        return values_of(<ShardedStore>self._mapping)

    def __contains__(self, value):
        for held in self:
            if held is value or held == value:
                return True
        return False


class Items(ItemsView):
    """The items of a cache, each read atomically and without an effect on its recency."""

    __slots__ = ()

    def __iter__(self):
        return items_of(<ShardedStore>self._mapping)

    def __contains__(self, item):
        key, value = item
        cdef PyObject *found = lookup(<ShardedStore>self._mapping, <PyObject *>key, False)
        if found != NULL:
            held = fastcache_give(found)
        elif (<ShardedStore>self._mapping).hooks & HOOK_MISSING:
            try:
                held = self._mapping.__missing__(key)
            except KeyError:
                return False
        else:
            return False
        return held is value or held == value


class HookedValues(Values):
    """The values of a cache, looked up through a subclass's overrides."""

    __slots__ = ()

    def __iter__(self):
        for _, value in looked_up(self._mapping):
            yield value


class HookedItems(ItemsView):
    """The items of a cache, looked up through a subclass's overrides."""

    __slots__ = ()

    def __iter__(self):
        return looked_up(self._mapping)


def looked_up(ShardedStore cache):
    """The items of a cache by its `__iter__` and `__getitem__`, except keys removed meanwhile."""
    cdef CacheSettings settings
    keys = iter(cache)
    while True:
        settings = <CacheSettings>settings_of(cache)
        before = removals_of(<tuple>shards_of(cache))
        settings.pin_time()
        try:
            key = next(keys, NOTHING)
            if key is NOTHING:
                return
            found = read_pinned(cache, key, before)
        finally:
            settings.unpin_time()
        if found is not NOTHING:
            yield (key, found)


cdef object values_view(ShardedStore cache):
    """A view of the values."""
    return (HookedValues if cache.hooks & (HOOK_LOOKUP | HOOK_ITER) else Values)(cache)


cdef object items_view(ShardedStore cache):
    """A view of the items."""
    return (HookedItems if cache.hooks & (HOOK_LOOKUP | HOOK_ITER) else Items)(cache)
