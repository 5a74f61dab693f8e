# What a shard keeps of one item, in two arrays with the same indices; index 0 is no item.

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t


cdef struct TableEntry:      # 32 bytes, within a cache line: all that a lookup touches
    PyObject *key       # owned; NULL while the entry is free
    PyObject *value     # owned
    double deadline     # absolute, in the timer's units
    uint32_t next_used  # towards the most recently used; of a free entry, the next free one
    uint32_t prev_used


cdef struct Birth:      # what only changes touch
    uint32_t tag        # of the entry's slot
    uint32_t serial     # tells one life of the entry from another
    uint32_t next_born  # towards the youngest
    uint32_t prev_born
