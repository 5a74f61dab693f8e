# Declarations for other compiled modules: the state of a shard at one moment.

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from fastcache._garbage cimport Garbage
from fastcache._shard cimport Counts, Shard
from fastcache._sizes cimport Size


cdef struct Mark:       # identifies an entry without a reference to it
    uint32_t entry
    uint32_t serial


cdef struct Removals:   # numbers of entries removed so far
    uint32_t all        # from the shards of a cache, by any thread
    uint64_t own        # by this thread, from the watched tables of any cache


cdef Mark *marks_of(Shard shard, uint32_t *count) except? NULL
cdef bint read_mark(
    Shard shard, Mark mark, double now, PyObject **key, PyObject **value
) noexcept
cdef bint read_shard(Shard shard, list entries, list use) except -1
cdef bint peek_used(Shard shard, Garbage *garbage) noexcept
cdef uint32_t sum_of(Shard shard, Size *total) noexcept
cdef double load_of(Shard shard, double *capacity) noexcept
cdef Removals removals_of(tuple shards) noexcept
cdef bint removed_by_others(tuple shards, Removals before) noexcept
cdef void add_counts(Shard shard, Counts *counts) noexcept
