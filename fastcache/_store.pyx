"""The shards of a cache and what is asked of all of them, behind the mapping.

A cache is a tuple of shards, of which a key's hash picks one. All that can run Python code
(hashing, the timer, the measure of size) is asked before a shard is changed; what a change
lets go is released after it.

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

from fastcache._garbage cimport Garbage, garbage_release, garbage_start
from fastcache._settings cimport CLOCK_NONE, Settings, now_of
from fastcache._shard cimport Entry, Mark, Shard, spread


cdef enum:
    MOST_SHARDS = 1024

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


# no_gc_clear: the shards and the settings break cycles; a cache never loses its parts.
@cython.no_gc_clear
@cython.auto_pickle(False)
@cython.trashcan(True)
cdef class Store:
    """The shards of one cache."""

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
            self.expire(self.settings.read())
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

    def __copy__(self):
        cls = type(self)
        cdef Store copy = cls.__new__(cls)
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
