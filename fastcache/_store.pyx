"""The shards of a cache, and the operations on all of them, below the mapping interface.

A cache is a tuple of shards; the hash of a key selects one. Everything that can run Python code
(hashing, the timer, the measure of size) is called before a shard is locked, and dropped references
are released after a change.

A method that a subclass overrides is called where cachetools would call it. `hooks` records the
overridden methods, so that the classes themselves take the fast path.
"""

cimport cython
from cpython.object cimport PyObject
from libc.math cimport INFINITY
from libc.stdint cimport uint64_t

import copyreg
import math
from copy import deepcopy

from fastcache._collector cimport install_traversal
from fastcache._garbage cimport Garbage, garbage_pairs, garbage_release, garbage_start
from fastcache._hooks cimport (
    HOOK_DELETE, HOOK_EXPIRE, HOOK_MISSING, HOOK_POPITEM, HOOK_SIZE, hooks_of
)
from fastcache._settings cimport (
    CLOCK_CALL, CLOCK_NATIVE, CLOCK_NONE, CacheSettings, capacity_of, deadline_of
)
from fastcache._shard cimport Item, Shard, fits
from fastcache._sizes cimport Size, read_size
from fastcache._slots cimport mix_of
from fastcache._snapshot cimport (
    Removals, load_of, removed_by_others, peek_used, read_shard, removals_of
)


cdef enum:
    MOST_SHARDS = 1024
    SHARD_ROOM = 16     # the minimum capacity of a shard, if there are several


install_traversal()


# no_gc_clear: clearing the shards and the settings breaks cycles; a cache never loses its parts.
@cython.no_gc_clear
@cython.auto_pickle(False)
@cython.trashcan(True)
cdef class ShardedStore:
    """The shards of one cache."""

    def __cinit__(self, *args, **kwargs):
        # A subclass may call methods before __init__, and copies are created without it.
        self.settings = CacheSettings(0)
        self.shards = (Shard(self.settings, 0, False, False, False),)
        self.retired = []

    cdef int open(self, type base, CacheSettings settings, object shards, bint reborn) except -1:
        """Make an empty cache; `base` is the class whose methods do not count as overrides.

        The previous parts are emptied and kept for the lifetime of the cache: another thread, or a
        method that is running, may be using them.
        """
        cdef int hooks = hooks_of(type(self), base)
        cdef list made = []
        cdef list kept = []
        cdef tuple parts
        cdef tuple before
        maxsize = settings.maxsize
        if not maxsize >= 0:
            raise ValueError("maxsize must be non-negative")
        if not isinstance(shards, int):
            raise TypeError(f"shards must be an int, not {type(shards).__name__}")
        if not 1 <= shards <= MOST_SHARDS:
            raise ValueError(f"shards must be from 1 to {MOST_SHARDS}")
        if shards > 1 and hooks & (HOOK_POPITEM | HOOK_DELETE):
            raise TypeError(
                f"{type(self).__name__} overrides popitem or __delitem__, which needs shards=1"
            )
        if shards > 1 and maxsize < shards * SHARD_ROOM:
            # Keys are not spread evenly: a small shard would evict items although the cache is not
            # full.
            shards = max(1, math.floor(maxsize) // SHARD_ROOM)
        if hooks & ~(HOOK_MISSING | HOOK_SIZE) and settings.clock == CLOCK_NATIVE:
            # The native clock would ignore the times that threads have pinned.
            settings.clock = CLOCK_CALL
        sized = settings.getsizeof is not None or (hooks & HOOK_SIZE) != 0
        watched = (hooks & ~(HOOK_MISSING | HOOK_SIZE)) != 0
        for number in range(shards):
            part = capacity_of(maxsize, shards, number)
            made.append(Shard(settings, part, sized, reborn, watched))
        parts = tuple(made)
        self.hooks = hooks
        self.sized = sized
        # Nothing may fail between replacing a part and keeping the old one. Not [None, None]:
        # without the GIL, CPython 3.13 crashes if there is no memory for the items of a new list.
        kept.append(None)
        kept.append(None)
        self.retired.append(kept)
        kept[0] = exchange_settings(self, settings)
        kept[1] = before = exchange_shards(self, parts)
        for shard in before:
            (<Shard>shard).clear()
        return 0

    cdef int call_measure(self, object value, Size *size) except -1:
        """Measure a value by the `getsizeof` of the cache or of a subclass."""
        given = (<CacheSettings>settings_of(self)).getsizeof
        return read_size(self.getsizeof(value) if given is None else given(value), size)

    cdef Shard shard_for(self, uint64_t mix, Item *item):
        """The shard for an item; ValueError if the item does not fit into it.

        The cache may have been initialised again since the item was measured.
        """
        cdef Shard shard = <Shard>shard_at(self, mix)
        if fits(shard, &item.size):
            return shard
        if not self.hooks & HOOK_EXPIRE:
            # As every store does, even if it is rejected.
            self.expire_all()
        raise ValueError("value too large")

    cdef int assign(self, object key, object value, object ttl) except -1:
        """Store an item; `ttl` None means the cache's TTL."""
        cdef Garbage garbage
        cdef Item item
        cdef uint64_t mix
        cdef Shard shard
        if self.hooks & (HOOK_DELETE | HOOK_POPITEM | HOOK_EXPIRE):
            return self.assign_hooked(key, value, ttl)
        item.value = <PyObject *>value
        # Read the time first: the call of `getsizeof` below may take long.
        item.now = now_in(self) if ttl is not None else roughly_now_in(self)
        self.set_deadline(&item, ttl)
        measure(self, value, &item.size)
        mix = mix_of(fastcache_hash(<PyObject *>key))
        shard = self.shard_for(mix, &item)
        garbage_start(&garbage)
        try:
            shard.put(key, mix, &item, &garbage)
        finally:
            garbage_release(&garbage)
        return 0

    cdef int assign_while(
        self, object key, object value, uint64_t *generation, uint64_t expected
    ) except -1:
        """`assign` without hooks, if `generation` is still `expected` when the item is stored.

        The timer, the measure of size and the key may run any code, which may clear the cache.
        """
        cdef Garbage garbage
        cdef Item item
        cdef uint64_t mix
        cdef Shard shard
        item.value = <PyObject *>value
        item.now = roughly_now_in(self)
        self.set_deadline(&item, None)
        measure(self, value, &item.size)
        mix = mix_of(fastcache_hash(<PyObject *>key))
        shard = self.shard_for(mix, &item)
        garbage_start(&garbage)
        try:
            shard.put_while(key, mix, &item, &garbage, generation, expected)
        finally:
            garbage_release(&garbage)
        return 0

    cdef int set_deadline(self, Item *item, object ttl) except -1:
        cdef CacheSettings settings = <CacheSettings>settings_of(self)
        item.own = ttl is not None
        item.deadline = deadline_of(
            settings, item.now, settings.span_of(ttl) if item.own else settings.span
        )
        if item.deadline != item.deadline:
            if item.own:
                raise ValueError("ttl must be a number, not nan")
            item.deadline = -INFINITY
        return 0

    cdef int assign_hooked(self, object key, object value, object ttl) except -1:
        """Store an item in a cache whose subclass overrides methods that remove items."""
        cdef CacheSettings settings = <CacheSettings>settings_of(self)
        settings.pin_time()
        try:
            return self.assign_pinned(key, value, ttl)
        finally:
            settings.unpin_time()

    cdef int assign_pinned(self, object key, object value, object ttl) except -1:
        cdef Garbage garbage
        cdef Removals before
        cdef double now
        cdef Item item
        cdef uint64_t mix
        cdef Shard shard
        item.now = 0.0
        if (<CacheSettings>settings_of(self)).clock != CLOCK_NONE:
            time = (<CacheSettings>settings_of(self)).read()
            item.now = (<CacheSettings>settings_of(self)).instant(time)
            self.expire(time)
        self.set_deadline(&item, ttl)
        item.value = <PyObject *>value
        measure(self, value, &item.size)
        now = item.now
        # Expired items are already removed, unless the subclass keeps them.
        item.now = -INFINITY if now < item.deadline else item.deadline
        mix = mix_of(fastcache_hash(<PyObject *>key))
        shard = self.shard_for(mix, &item)
        while now < item.deadline and self.hooks & (HOOK_DELETE | HOOK_POPITEM):
            before = removals_of(<tuple>shards_of(self))
            if not shard.lacks_room(key, mix, &item.size):
                break
            try:
                if self.hooks & HOOK_POPITEM:
                    self.popitem()
                elif self.pop_first() is None:
                    continue
                shard.count_eviction()
            except KeyError:
                if not removed_by_others(<tuple>shards_of(self), before):
                    raise
        garbage_start(&garbage)
        try:
            shard.put(key, mix, &item, &garbage)
        finally:
            garbage_release(&garbage)
        return 0

    cdef int sweep(self, double now, Garbage *garbage) except -1:
        """Remove expired entries from all shards. Runs no Python code."""
        for shard in <tuple>shards_of(self):
            (<Shard>shard).expire(now, garbage)
        return 0

    cdef int expire_all(self) except -1:
        """Remove expired entries, as every operation does that counts items."""
        cdef Garbage garbage
        cdef double now
        if (<CacheSettings>settings_of(self)).clock == CLOCK_NONE:
            return 0
        if self.hooks & HOOK_EXPIRE:
            self.expire_hooked()
            return 0
        now = now_in(self)
        garbage_start(&garbage)
        try:
            self.sweep(now, &garbage)
        finally:
            garbage_release(&garbage)
        return 0

    cdef int expire_hooked(self) except -1:
        """Call the subclass's `expire` with the time pinned."""
        cdef CacheSettings settings = <CacheSettings>settings_of(self)
        time = settings.pin_time()
        try:
            self.expire(time)
        finally:
            settings.unpin_time()
        return 0

    cdef Shard fullest(self):
        """The shard that is closest to its capacity, among those with entries; or None."""
        cdef Shard best = None
        cdef double total
        cdef double capacity = 0.0
        cdef double most = 0.0
        cdef double among = 0.0
        for shard in <tuple>shards_of(self):
            total = load_of(<Shard>shard, &capacity)
            if total >= 0.0 and (best is None or total * among > most * capacity):
                best = shard
                most = total
                among = capacity
        return best

    cdef object pop_first(self):
        """Remove and return the least recently used item; None if another thread took it."""
        cdef Garbage popped
        cdef Removals before = Removals(all=0, own=0)
        cdef bint hooked = (self.hooks & HOOK_DELETE) != 0
        cdef Shard shard = self.fullest()
        if shard is None:
            raise KeyError(f"{type(self).__name__} is empty") from None
        garbage_start(&popped)
        try:
            if hooked:
                before = removals_of(<tuple>shards_of(self))
                peek_used(shard, &popped)
            else:
                shard.pop_used(&popped)
            if popped.count == 0:
                return None
            item = garbage_pairs(&popped)[0]
        finally:
            garbage_release(&popped)
        if hooked:
            try:
                del self[item[0]]
            except KeyError:
                if not removed_by_others(<tuple>shards_of(self), before):
                    raise
                return None
        return item

    def __copy__(self):
        cls = type(self)
        cdef ShardedStore copy = cls.__new__(cls)
        copy.restore(self.state())
        attributes = getattr(self, "__dict__", None)
        if attributes:
            copy.__dict__.update(attributes)
        return copy

    def __deepcopy__(self, memo):
        cls = type(self)
        cdef ShardedStore copy = cls.__new__(cls)
        # Registered before its parts are copied, because they may refer back to it.
        memo[id(self)] = copy
        _restore(copy, deepcopy((self.__getstate__(), *self.state()), memo))
        return copy

    def __reduce__(self):
        # A subclass may define which of its attributes are pickled.
        state = (self.__getstate__(), *self.state())
        return (copyreg.__newobj__, (type(self),), state, None, None, _restore)

    def __setstate__(self, state):
        """Restore a subclass's attributes, in the form that `object.__getstate__` returns."""
        attributes, slots = state if isinstance(state, tuple) else (state, None)
        if attributes:
            self.__dict__.update(attributes)
        if slots:
            for name, value in slots.items():
                setattr(self, name, value)

    cdef tuple state(self):
        """The full state of the cache except attributes: settings, entries and their order of use.

        The entries are `(key, value, size, deadline)`, oldest first; the order of use is their
        indices, least recently used first.
        """
        cdef CacheSettings settings = <CacheSettings>settings_of(self)
        cdef tuple shards = <tuple>shards_of(self)
        cdef list entries = []
        cdef list use = []
        reborn = False
        for shard in shards:
            reborn = read_shard(shard, entries, use)
        made = (
            settings.maxsize, settings.getsizeof, settings.ttl, settings.timer,
            len(shards), reborn,
        )
        return (made, entries, use)

    cdef int restore(self, tuple state) except -1:
        cdef Garbage garbage
        cdef Item item
        cdef uint64_t mix
        cdef Shard shard
        made, entries, use = state
        maxsize, getsizeof, ttl, timer, parts, reborn = made
        for base in type(self).__mro__:
            if base.__module__ == "fastcache._ttl":
                break
        self.open(base, CacheSettings(maxsize, getsizeof, ttl, timer), parts, reborn)
        for key, value, size, deadline in entries:
            mix = mix_of(hash(key))
            item.value = <PyObject *>value
            item.now = -INFINITY
            item.deadline = deadline
            item.own = True
            try:
                read_size(size, &item.size)
                shard = self.shard_for(mix, &item)
            except ValueError:
                # Strings have another hash in another process, so the item may belong to a smaller
                # shard.
                continue
            garbage_start(&garbage)
            try:
                shard.put(key, mix, &item, &garbage)
            finally:
                garbage_release(&garbage)
        for number in use:
            key = entries[number][0]
            mix = mix_of(hash(key))
            (<Shard>shard_at(self, mix)).use(key, mix)
        return 0


def _restore(ShardedStore cache not None, tuple state not None):
    """Fill a new, empty cache with the state from a pickle or a deep copy."""
    attributes, *parts = state
    cache.restore(tuple(parts))
    if attributes is not None:
        cache.__setstate__(attributes)
    cache.expire_all()
