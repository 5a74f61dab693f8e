# One shard of a cache, as other compiled modules see it.

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from fastcache._garbage cimport Garbage
from fastcache._settings cimport Settings


cdef extern from "_keys.h":
    int fastcache_equal(PyObject *left, PyObject *right) noexcept
    object fastcache_give(PyObject *owned)


# The full period of a 64-bit word over the golden ratio: it spreads hash(int) == int.
cdef inline uint64_t spread(Py_hash_t hash_value) noexcept nogil:
    cdef uint64_t mixed = <uint64_t>hash_value * <uint64_t>0x9E3779B97F4A7C15
    return mixed ^ (mixed >> 32)


cdef struct Slot:
    uint32_t tag        # low half of the spread hash; its low bits are the home position
    uint32_t entry      # index of the entry, 0 for an empty slot


cdef struct Entry:      # 64 bytes: a cache line
    PyObject *key       # owned; NULL while the entry is free
    PyObject *value     # owned
    Py_hash_t hash
    double deadline     # absolute, in the timer's units
    double size
    uint64_t serial     # names one life of the entry, never used again
    uint32_t next_used  # towards the most recently used
    uint32_t prev_used
    uint32_t next_born  # towards the youngest
    uint32_t prev_born


cdef struct Mark:       # remembers an entry without holding it
    uint32_t entry
    uint64_t serial


cdef class Shard:
    cdef Settings settings      # the cache's; makes the collector visit shards at all
    cdef Slot *slots
    cdef Entry *entries         # entries[0] is the root of both rings
    cdef uint32_t mask          # number of slots - 1
    cdef uint32_t room          # entries allocated
    cdef uint32_t used          # entries ever handed out, the root included
    cdef uint32_t free          # first free entry, chained by next_used; 0 for none
    cdef uint32_t count         # live entries
    cdef bint reborn            # storing an existing key makes its entry the youngest
    cdef double capacity
    cdef double total           # sum of the sizes
    cdef uint64_t version       # changes whenever the slots do
    cdef uint64_t serial
    cdef uint64_t hits
    cdef uint64_t misses
    cdef uint64_t evictions
    cdef uint64_t expirations

    cdef uint32_t find(self, object key, Py_hash_t hash_value) except? 0xFFFFFFFF
    cdef PyObject *fetch(self, object key, Py_hash_t hash_value, double now) except? NULL
    cdef int put(
        self, object key, Py_hash_t hash_value, object value,
        double size, double now, double deadline, Garbage *garbage
    ) except -1
    cdef int store(
        self, uint32_t index, object key, Py_hash_t hash_value, object value,
        double size, double now, double deadline, Garbage *garbage
    ) except -1
    cdef int take(self, uint32_t index, Garbage *garbage) except -1
    cdef int expire(self, double now, Garbage *garbage) except -1
    cdef void touch(self, uint32_t index) noexcept
    cdef void clear(self) noexcept
    cdef Mark *marks(self, bint by_use, uint32_t *count) except? NULL
    cdef int reserve(self) except -1
    cdef int widen(self) except -1
    cdef void link_used(self, uint32_t index) noexcept
    cdef void link_born(self, uint32_t index) noexcept
    cdef uint32_t new_entry(self) noexcept
    cdef void vacate(self, uint32_t index) noexcept
