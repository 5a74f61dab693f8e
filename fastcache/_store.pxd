# Declarations for other compiled modules: the shards of a cache.

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from fastcache._garbage cimport Garbage
from fastcache._settings cimport (
    CLOCK_NATIVE,
    CLOCK_NONE,
    CacheSettings,
    fastcache_monotonic,
    fastcache_monotonic_coarse,
    fastcache_monotonic_soon,
)
from fastcache._shard cimport Item, Shard, fetch, peek
from fastcache._sizes cimport Size, size_of
from fastcache._slots cimport mix_of


cdef extern from "Python.h":
    # Declared without the reference counting that Cython would add.
    Py_ssize_t tuple_size "PyTuple_GET_SIZE"(PyObject *items) noexcept
    PyObject *tuple_item "PyTuple_GET_ITEM"(PyObject *items, Py_ssize_t index) noexcept


cdef extern from *:
    """
    #define FASTCACHE_SPREAD UINT64_C(0xD6E8FEB86659FD93)
    """
    const uint64_t FASTCACHE_SPREAD


cdef extern from "_keys.h":
    Py_hash_t fastcache_hash(PyObject *key) except? -1


cdef class ShardedStore:
    cdef CacheSettings settings
    cdef tuple shards
    cdef list retired       # settings and shards of earlier initialisations
    cdef int hooks
    cdef bint sized
    cdef object __weakref__

    cdef int open(self, type base, CacheSettings settings, object shards, bint reborn) except -1
    cdef Shard shard_for(self, uint64_t mix, Item *item)
    cdef int assign(self, object key, object value, object ttl) except -1
    cdef int assign_while(
        self, object key, object value, uint64_t *generation, uint64_t expected
    ) except -1
    cdef int assign_hooked(self, object key, object value, object ttl) except -1
    cdef int assign_pinned(self, object key, object value, object ttl) except -1
    cdef int set_deadline(self, Item *item, object ttl) except -1
    cdef int call_measure(self, object value, Size *size) except -1
    cdef int expire_all(self) except -1
    cdef int expire_hooked(self) except -1
    cdef int sweep(self, double now, Garbage *garbage) except -1
    cdef Shard fullest(self)
    cdef object pop_first(self)
    cdef tuple state(self)
    cdef int restore(self, tuple state) except -1


cdef extern from "_parts.h":
    # Outside of __cinit__, read the parts through these: another thread may be in
    # ShardedStore.open.
    PyObject *settings_of "FASTCACHE_SETTINGS"(ShardedStore store) noexcept
    PyObject *shards_of "FASTCACHE_SHARDS"(ShardedStore store) noexcept
    CacheSettings exchange_settings "FASTCACHE_EXCHANGE_SETTINGS"(
        ShardedStore store, object settings
    )
    tuple exchange_shards "FASTCACHE_EXCHANGE_SHARDS"(ShardedStore store, object shards)


# The settings and shards are borrowed while a method runs, even while Python code and other threads
# run: a cache keeps all its earlier parts alive, see ShardedStore.open.

cdef inline PyObject *shard_at(ShardedStore self, uint64_t mix) noexcept:
    """The shard that a key's mix selects; borrowed.

    It does not use the bits of the tag: the tags of a shard must be spread over all its homes.
    """
    cdef PyObject *shards = shards_of(self)
    cdef uint64_t count = <uint64_t>tuple_size(shards)
    if count == 1:
        return tuple_item(shards, 0)
    return tuple_item(shards, <Py_ssize_t>((((mix * FASTCACHE_SPREAD) >> 32) * count) >> 32))


cdef inline double now_in(ShardedStore self) except? -1.0:
    """The current time of the cache's timer. A custom timer runs Python code."""
    cdef PyObject *settings = settings_of(self)
    if (<CacheSettings>settings).clock == CLOCK_NATIVE:
        return fastcache_monotonic()
    if (<CacheSettings>settings).clock == CLOCK_NONE:
        return 0.0
    return (<CacheSettings>settings).call_timer()


cdef inline double roughly_now_in(ShardedStore self) except? -1.0:
    """`now_in`, or up to some kernel ticks earlier if the ttl is a second or more."""
    cdef PyObject *settings = settings_of(self)
    if (<CacheSettings>settings).clock == CLOCK_NATIVE and (<CacheSettings>settings).span >= 1.0:
        return fastcache_monotonic_coarse()
    return now_in(self)


cdef inline int measure(ShardedStore self, object value, Size *size) except -1:
    """Measure a value, which runs Python code. The size is 1 if the cache has no `getsizeof`."""
    size[0] = size_of(1)
    if self.sized:
        self.call_measure(value, size)
    return 0


cdef inline PyObject *lookup(ShardedStore self, PyObject *key, bint counted) except? NULL:
    """New reference to the live value of `key`; NULL without an exception if there is none.

    With `counted`, the lookup is counted and makes the key the most recently used.
    """
    cdef uint64_t mix = mix_of(fastcache_hash(key))
    cdef bint native = (<CacheSettings>settings_of(self)).clock == CLOCK_NATIVE
    cdef double bound = fastcache_monotonic_soon() if native else now_in(self)
    if counted:
        return fetch(<Shard>shard_at(self, mix), key, mix, bound, native)
    return peek(<Shard>shard_at(self, mix), key, mix, bound, native)
