# One shard of a cache, as other compiled modules see it.

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from fastcache._garbage cimport Garbage
from fastcache._settings cimport Settings
from fastcache._table cimport Table


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


cdef struct Item:       # what is stored under a key
    PyObject *value     # borrowed
    double size
    double now          # what has expired by then makes room
    double deadline
    bint own            # the deadline is not the cache's ttl from now


cdef enum Removal:
    ABSENT
    REMOVED
    EXPIRED


cdef class Shard:
    cdef Settings settings      # the cache's; makes the collector visit shards at all
    # What each lookup writes lies side by side, from the hits to the table's first fields:
    # one cache line to fetch from the core that had the shard last.
    cdef Counts counts
    cdef Mutex mutex
    cdef Table table
    cdef readonly double capacity

    cdef PyObject *fetch(self, object key, uint64_t mix, double bound, bint native) except? NULL
    cdef PyObject *peek(self, object key, uint64_t mix, double bound, bint native) except? NULL
    cdef int put(self, object key, uint64_t mix, Item *item, Garbage *garbage) except -1
    cdef PyObject *put_new(
        self, object key, uint64_t mix, Item *item, Garbage *garbage
    ) except? NULL
    cdef Removal remove(
        self, object key, uint64_t mix, double now, bint counted, Garbage *garbage
    ) except *
    cdef double excess(self, object key, uint64_t mix, double size) except? -1.0
    cdef int use(self, object key, uint64_t mix) except -1
    cdef int pop_used(self, Garbage *garbage) except -1
    cdef bint peek_used(self, Garbage *garbage) noexcept
    cdef void count_eviction(self) noexcept
    cdef int expire(self, double now, Garbage *garbage) except -1
    cdef void clear(self) noexcept
    cdef void reset(self) noexcept
    cdef uint32_t measure(self, double *total) noexcept
    cdef void add_counts(self, Counts *counts) noexcept

    # With the lock held:
    cdef uint32_t find(self, object key, uint64_t mix) except? 0xFFFFFFFF
    cdef int compare(self, PyObject *held, object key) except -1
    cdef int store(
        self, uint32_t index, object key, uint64_t mix, Item *item, Garbage *garbage
    ) noexcept
    cdef void foresee(self) noexcept
    cdef int take(self, uint32_t index, Garbage *garbage) noexcept
    cdef int expire_held(self, double now, Garbage *garbage) noexcept
