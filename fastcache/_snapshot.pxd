# What a shard holds at one moment, as other compiled modules see it.

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fastcache._shard cimport Shard


cdef struct Mark:       # remembers an entry without holding it
    uint32_t entry
    uint32_t serial


cdef struct Copy:       # an item as it was, with references of its own
    PyObject *key
    PyObject *value
    double size
    double deadline
    uint32_t entry


cdef Mark *marks_of(Shard shard, uint32_t *count) except? NULL
cdef bint read_mark(
    Shard shard, Mark mark, double now, PyObject **key, PyObject **value
) noexcept
cdef Copy *copies_of(Shard shard, uint32_t *count, uint32_t **use) except? NULL
