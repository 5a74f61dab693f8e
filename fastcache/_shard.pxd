# Declarations for other compiled modules: one shard of a cache.

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from fastcache._entry cimport TableEntry
from fastcache._garbage cimport Garbage
from fastcache._settings cimport CacheSettings, fastcache_monotonic
from fastcache._sizes cimport Size, size_exceeds
from fastcache._slots cimport Slot, slots_first
from fastcache._table cimport Table, touch


cdef extern from "Python.h":
    void incref "Py_INCREF"(PyObject *reference) noexcept


cdef extern from "_keys.h":
    int fastcache_equal(PyObject *left, PyObject *right) noexcept
    void fastcache_prefetch(const void *memory) noexcept nogil
    object fastcache_give(PyObject *owned)


cdef extern from "_lock.h":
    ctypedef struct Mutex "fastcache_mutex":
        pass
    void lock "fastcache_lock"(Mutex *mutex) noexcept
    void unlock "fastcache_unlock"(Mutex *mutex) noexcept


cdef struct Counts:
    uint64_t evictions
    uint64_t expirations
    uint64_t misses
    uint64_t hits


cdef struct Item:       # an item to store
    PyObject *value     # borrowed
    Size size           # ignored by a shard without sizes
    double now          # entries that have expired by then are removed first
    double deadline
    bint own            # the item has its own TTL


cdef enum Removal:
    ABSENT
    REMOVED
    EXPIRED


cdef class Shard:
    cdef CacheSettings settings      # the cache's; as an object, it makes the type traversable
    # The fields that each lookup writes lie together, from the hits to the first fields of the
    # table: one cache line to fetch from the core that used the shard last.
    cdef Counts counts
    cdef Mutex mutex
    cdef Table table
    cdef uint64_t most          # the maximum number of entries
    cdef Size capacity          # the maximum sum of the sizes, in a shard with sizes

    cdef int put(self, object key, uint64_t mix, Item *item, Garbage *garbage) except -1
    cdef int put_while(
        self, object key, uint64_t mix, Item *item, Garbage *garbage, uint64_t *generation,
        uint64_t expected,
    ) except -1
    cdef PyObject *put_new(
        self, object key, uint64_t mix, Item *item, Garbage *garbage
    ) except? NULL
    cdef Removal remove(
        self, object key, uint64_t mix, double now, bint counted, Garbage *garbage
    ) except *
    cdef bint lacks_room(self, object key, uint64_t mix, Size *size) except -1
    cdef int use(self, object key, uint64_t mix) except -1
    cdef int pop_used(self, Garbage *garbage) except -1
    cdef void count_eviction(self) noexcept
    cdef int expire(self, double now, Garbage *garbage) except -1
    cdef void clear(self) noexcept
    cdef void discard(self) noexcept
    cdef void reset(self) noexcept

    # With the lock held:
    cdef uint32_t search(self, object key, uint64_t mix) except? 0xFFFFFFFF
    cdef int compare(self, PyObject *held, object key) except -1
    cdef bint lives(self, uint32_t index, uint32_t serial) noexcept
    cdef int store(
        self, uint32_t index, object key, uint64_t mix, Item *item, Garbage *garbage
    ) noexcept
    cdef void prefetch_eviction(self) noexcept
    cdef int take(self, uint32_t index, Garbage *garbage) noexcept
    cdef int expire_held(self, double now, Garbage *garbage) noexcept


# The most frequent operations are inline.

cdef inline bint fits(Shard shard, Size *size) noexcept:
    """Whether an item of this size could fit into an empty shard."""
    return not size_exceeds(size[0], shard.capacity) if shard.table.sized else shard.most >= 1


cdef inline bint live(double deadline, double bound, bint native) noexcept:
    """Whether a deadline is in the future; `bound` is the time, or later than it."""
    return bound < deadline or (native and fastcache_monotonic() < deadline)


cdef inline uint32_t find(Shard shard, PyObject *key, uint64_t mix) except? 0xFFFFFFFF:
    """Index of the entry of `key`, expired or not; 0 if there is none.

    The caller holds the lock. It was not released after the result became true. If this raises,
    the lock has been released.
    """
    cdef uint32_t tag = <uint32_t>mix
    cdef TableEntry *entries = shard.table.entries
    cdef TableEntry *entry
    cdef Slot *slot
    cdef int same
    # Every core writes the ends of the order by use: they are prefetched while the index is
    # searched and the key is compared.
    fastcache_prefetch(entries)
    slot = slots_first(&shard.table.slots, tag)
    while slot.tag == tag and slot.entry != 0:
        entry = &entries[slot.entry]
        if entry.key == key:
            return slot.entry
        fastcache_prefetch(entry.value)
        fastcache_prefetch(&entries[entry.prev_used])
        fastcache_prefetch(&entries[entry.next_used])
        fastcache_prefetch(&entries[entries[0].prev_used])
        same = fastcache_equal(entry.key, key)
        if same < 0:
            return shard.search(<object>key, mix)
        if same:
            return slot.entry
        slot += 1
    return 0


cdef inline PyObject *fetch(
    Shard shard, PyObject *key, uint64_t mix, double bound, bint native
) except? NULL:
    """New reference to the live value of `key`, which becomes the most recently used; or NULL.

    `bound` is the time or, with `native`, a later time.
    """
    cdef PyObject *value = NULL
    cdef TableEntry *entry
    cdef uint32_t index
    lock(&shard.mutex)
    index = find(shard, key, mix)
    entry = &shard.table.entries[index]
    if index != 0 and live(entry.deadline, bound, native):
        shard.counts.hits += 1
        touch(&shard.table, index)
        value = entry.value
        incref(value)
    else:
        shard.counts.misses += 1
    unlock(&shard.mutex)
    return value


cdef inline PyObject *peek(
    Shard shard, PyObject *key, uint64_t mix, double bound, bint native
) except? NULL:
    """Like `fetch`, without an effect on recency and statistics."""
    cdef PyObject *value = NULL
    cdef uint32_t index
    lock(&shard.mutex)
    index = find(shard, key, mix)
    if index != 0 and live(shard.table.entries[index].deadline, bound, native):
        value = shard.table.entries[index].value
        incref(value)
    unlock(&shard.mutex)
    return value
