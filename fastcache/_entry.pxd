# Declarations for other compiled modules: the two parts of an entry, in two arrays with the same
# indices. Index 0 is not an entry.

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t


cdef struct TableEntry:      # 32 bytes, within a cache line: all that a lookup touches
    PyObject *key       # owned; NULL if the entry is free
    PyObject *value     # owned
    double deadline     # absolute, in the timer's units
    uint32_t next_used  # towards the most recently used; in a free entry, the next free one
    uint32_t prev_used


cdef struct Birth:      # only changes read or write this
    uint32_t tag        # of the entry's slot
    uint32_t serial     # distinguishes successive uses of the same entry
    uint32_t next_born  # towards the youngest
    uint32_t prev_born
