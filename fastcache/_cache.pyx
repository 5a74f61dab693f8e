"""The mapping that LRUCache and TTLCache share: cachetools' methods over a store."""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from collections.abc import KeysView, Mapping, MutableMapping
from types import GenericAlias

from fastcache._garbage cimport Garbage, garbage_release, garbage_start
from fastcache._hooks cimport (
    HOOK_DELETE, HOOK_EXPIRE, HOOK_LOOKUP, HOOK_MISSING, HOOK_SIZE, HOOK_STORE
)
from fastcache._settings cimport CacheSettings
from fastcache._shard cimport REMOVED, Counts, Item, Removal, Shard, fastcache_give
from fastcache._sizes cimport Size, rounded_number, units_of
from fastcache._slots cimport mix_of
from fastcache._snapshot cimport (
    Removals, add_counts, removed_by_others, removals_of, sum_of
)
from fastcache._store cimport (
    ShardedStore, fastcache_hash, lookup, measure, now_in, settings_of, shard_at, shards_of
)
from fastcache._views cimport (
    NOTHING, holds, hooked_lookup, items_of, items_view, keys_of, values_view
)
from fastcache._stats import CacheStats


cdef extern from "Python.h":
    void decref "Py_DECREF"(PyObject *reference) noexcept
    int Py_ReprEnter(object item) except -1
    void Py_ReprLeave(object item) noexcept

    ctypedef struct MethodDef "PyMethodDef":
        void *ml_meth
        int ml_flags
    ctypedef struct Descriptor "PyMethodDescrObject":
        MethodDef *d_method
    const int METH_FASTCALL
    const int METH_KEYWORDS

    ctypedef struct PyTypeObject:
        unsigned long tp_flags
    const unsigned long Py_TPFLAGS_MAPPING


def _one(value):
    """The default size of a value."""
    return 1


@cython.no_gc_clear
@cython.auto_pickle(False)
@cython.trashcan(True)
cdef class Cache(ShardedStore):
    """A bounded mapping that evicts the least recently used items; see LRUCache and TTLCache."""

    # -------------------------------------------------------------- lookups

    def __getitem__(self, key):
        cdef PyObject *value = lookup(self, <PyObject *>key, True)
        if value != NULL:
            return fastcache_give(value)
        if self.hooks & HOOK_MISSING:
            return self.__missing__(key)
        raise KeyError(key)

    def __missing__(self, key):
        """Called by `cache[key]` for a missing key: raises KeyError unless overridden."""
        raise KeyError(key)

    def __contains__(self, key):
        cdef PyObject *value = lookup(self, <PyObject *>key, False)
        if value == NULL:
            return False
        decref(value)
        return True

    def get(self, key, default=None):
        """The value of `key`, which becomes the most recently used; else `default`."""
        cdef PyObject *value
        if self.hooks & HOOK_LOOKUP:
            found = hooked_lookup(self, key)
            return default if found is NOTHING else found
        value = lookup(self, <PyObject *>key, True)
        if value == NULL:
            return default
        return fastcache_give(value)

    def get_many(self, keys, /):
        """`{key: value}` for the keys that are found, each looked up as by `get`."""
        cdef PyObject *value
        cdef dict found = {}
        for key in keys:
            if self.hooks & HOOK_LOOKUP:
                looked = hooked_lookup(self, key)
                if looked is not NOTHING:
                    found[key] = looked
                continue
            value = lookup(self, <PyObject *>key, True)
            if value != NULL:
                found[key] = fastcache_give(value)
        return found

    # -------------------------------------------------------------- changes

    def __setitem__(self, key, value):
        self.assign(key, value, None)

    cdef int assign_many(self, object items, object ttl) except -1:
        """Store the items of a mapping or of an iterable of pairs, in order."""
        if isinstance(items, Mapping):
            items = items.items()
        for key, value in items:
            if ttl is None and self.hooks & HOOK_STORE:
                self[key] = value
            else:
                self.assign(key, value, ttl)
        return 0

    def __delitem__(self, key):
        cdef Garbage garbage
        cdef uint64_t mix = mix_of(fastcache_hash(<PyObject *>key))
        cdef double now = now_in(self)
        cdef Removal removal
        garbage_start(&garbage)
        try:
            removal = (<Shard>shard_at(self, mix)).remove(key, mix, now, False, &garbage)
        finally:
            garbage_release(&garbage)
        if removal != REMOVED:
            raise KeyError(key)

    def pop(self, key, default=NOTHING):
        """Remove `key` and return its value; if it is missing, `default` or a KeyError."""
        cdef Garbage garbage
        cdef uint64_t mix
        cdef double now
        cdef CacheSettings settings
        if self.hooks & (HOOK_LOOKUP | HOOK_DELETE):
            settings = <CacheSettings>settings_of(self)
            settings.pin_time()
            try:
                value = self.pop_pinned(key)
                if value is not NOTHING:
                    return value
            finally:
                settings.unpin_time()
        else:
            mix = mix_of(fastcache_hash(<PyObject *>key))
            now = now_in(self)
            garbage_start(&garbage)
            try:
                if (<Shard>shard_at(self, mix)).remove(key, mix, now, True, &garbage) == REMOVED:
                    return <object>garbage.few[1]
            finally:
                garbage_release(&garbage)
        if default is NOTHING:
            raise KeyError(key)
        return default

    cdef object pop_pinned(self, object key):
        """Remove a key through a subclass's overrides; returns its value, or NOTHING."""
        cdef tuple shards = <tuple>shards_of(self)
        cdef Removals before = removals_of(shards)
        cdef Removals looked
        cdef bint there = holds(self, key)
        value = hooked_lookup(self, key)
        if value is NOTHING:
            return NOTHING
        looked = removals_of(shards)
        if there and not holds(self, key):
            # The remover returns the value: `__getitem__` itself, or another thread.
            return NOTHING if removed_by_others(shards, before) else value
        try:
            del self[key]
        except KeyError:
            if not removed_by_others(shards, looked):
                raise
            return NOTHING
        return value

    def setdefault(self, key, default=None):
        """The value of `key`; if it is missing, store and return `default`."""
        cdef Garbage garbage
        cdef Item item
        cdef PyObject *found
        cdef uint64_t mix
        cdef Shard shard
        cdef CacheSettings settings
        if self.hooks & ~(HOOK_MISSING | HOOK_SIZE):
            settings = <CacheSettings>settings_of(self)
            settings.pin_time()
            try:
                value = hooked_lookup(self, key)
                if value is NOTHING:
                    self[key] = value = default
                return value
            finally:
                settings.unpin_time()
        found = lookup(self, <PyObject *>key, True)
        if found != NULL:
            return fastcache_give(found)
        item.value = <PyObject *>default
        item.now = now_in(self)
        self.set_deadline(&item, None)
        measure(self, default, &item.size)
        mix = mix_of(fastcache_hash(<PyObject *>key))
        shard = self.shard_for(mix, &item)
        garbage_start(&garbage)
        try:
            # Another thread may have stored the key while the size was measured.
            found = shard.put_new(key, mix, &item, &garbage)
        finally:
            garbage_release(&garbage)
        return default if found == NULL else fastcache_give(found)

    def popitem(self):
        """Remove and return the least recently used `(key, value)` that has not expired.

        With several shards, it comes from the fullest shard.
        """
        cdef CacheSettings settings
        if not self.hooks & (HOOK_DELETE | HOOK_EXPIRE):
            return self.popitem_pinned()
        settings = <CacheSettings>settings_of(self)
        settings.pin_time()
        try:
            return self.popitem_pinned()
        finally:
            settings.unpin_time()

    cdef object popitem_pinned(self):
        cdef Garbage expired
        cdef double now
        if self.hooks & HOOK_EXPIRE:
            self.expire_all()
        now = now_in(self)
        garbage_start(&expired)
        try:
            if not self.hooks & HOOK_EXPIRE:
                self.sweep(now, &expired)
            while True:
                item = self.pop_first()
                if item is not None:
                    return item
        finally:
            garbage_release(&expired)

    def clear(self):
        """Remove all items."""
        for shard in <tuple>shards_of(self):
            (<Shard>shard).clear()

    def update(self, *args, **kwargs):
        """Store many items, as MutableMapping.update does."""
        MutableMapping.update(self, *args, **kwargs)

    # -------------------------------------------------------------- sizes and statistics

    def __len__(self):
        cdef Size total
        cdef Py_ssize_t count = 0
        self.expire_all()
        for shard in <tuple>shards_of(self):
            count += sum_of(<Shard>shard, &total)
        return count

    @property
    def maxsize(self):
        """The maximum size of the cache."""
        return (<CacheSettings>settings_of(self)).maxsize

    @property
    def currsize(self):
        """The current size of the cache: the sum of the sizes of its items."""
        cdef Size total
        self.expire_all()
        units = 0
        for shard in <tuple>shards_of(self):
            sum_of(<Shard>shard, &total)
            units += units_of(total)
        return rounded_number(units)

    @property
    def getsizeof(self):
        """The function that measures a value's size: the given one, or 1 for each value."""
        given = (<CacheSettings>settings_of(self)).getsizeof
        return _one if given is None else given

    def stats(self):
        """CacheStats: hits, misses, evictions, expirations, entries."""
        cdef Counts counts = Counts(hits=0, misses=0, evictions=0, expirations=0)
        cdef Size total
        cdef uint64_t entries = 0
        for shard in <tuple>shards_of(self):
            add_counts(<Shard>shard, &counts)
            entries += sum_of(<Shard>shard, &total)
        return CacheStats(
            counts.hits, counts.misses, counts.evictions, counts.expirations, entries
        )

    # -------------------------------------------------------------- mapping protocol

    def __iter__(self):
        return keys_of(self)

    def keys(self):
        """A view of the keys."""
        return KeysView(self)

    def values(self):
        """A view of the values."""
        return values_view(self)

    def items(self):
        """A view of the items."""
        return items_view(self)

    # As in Mapping: items in several shards have no common order that could be reversed.
    __reversed__ = None

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
                (<CacheSettings>settings_of(self)).maxsize,
                currsize,
            )
        finally:
            Py_ReprLeave(self)

    @classmethod
    def __class_getitem__(cls, item):
        return GenericAlias(cls, item)


# `get` is called far more often than any other method. Simple calls skip the parsing of keyword
# arguments; all others use the method that Cython generated.

ctypedef object (*Method)(
    object self, PyObject *const *args, Py_ssize_t count, PyObject *names
)


cdef object get_plainly(object self, PyObject *const *args, Py_ssize_t count, PyObject *names):
    cdef PyObject *value
    if names != NULL or not 1 <= count <= 2 or (<Cache>self).hooks & HOOK_LOOKUP:
        return _get_parsed(self, args, count, names)
    value = lookup(<Cache>self, args[0], True)
    if value != NULL:
        return fastcache_give(value)
    return <object>args[1] if count == 2 else None


cdef MethodDef *_get = (<Descriptor *>Cache.__dict__["get"]).d_method
cdef Method _get_parsed = <Method><void *>_get.ml_meth
if _get.ml_flags != METH_FASTCALL | METH_KEYWORDS:
    raise ImportError("get was compiled with another calling convention")
_get.ml_meth = <void *>get_plainly

MutableMapping.register(Cache)
# As register() does for classes written in Python: `match` treats instances as mappings.
(<PyTypeObject *>Cache).tp_flags |= Py_TPFLAGS_MAPPING
