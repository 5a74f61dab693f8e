# The entries of a shard, as other compiled modules see them.

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from fastcache._entry cimport Birth, Entry
from fastcache._heap cimport Heap
from fastcache._slots cimport Slots


cdef struct Table:
    Entry *entries      # entries[0] is the root of the ring by use
    Slots slots
    Birth *births       # births[0] is the root of the ring by birth
    double *sizes       # NULL where every item counts 1
    void *block         # the memory that `entries` is aligned in
    Heap heap           # in use while deadlines are not in the order of birth
    uint32_t room       # entries allocated
    uint32_t used       # entries ever handed out, the root included
    uint32_t free       # the first free entry, 0 for none
    uint32_t count      # live entries
    uint32_t serial
    bint sized
    bint reborn         # storing an existing key makes its entry the youngest
    bint mixed          # an item came with a ttl of its own since the table was empty
    double total        # sum of the sizes
    uint64_t version    # changes whenever the slots do


cdef inline void touch(Table *table, uint32_t index) noexcept nogil:
    """Make the entry the most recently used."""
    cdef Entry *entries = table.entries
    cdef Entry *entry = &entries[index]
    cdef uint32_t last
    if entry.next_used == 0:
        return
    entries[entry.prev_used].next_used = entry.next_used
    entries[entry.next_used].prev_used = entry.prev_used
    last = entries[0].prev_used
    entry.prev_used = last
    entry.next_used = 0
    entries[last].next_used = index
    entries[0].prev_used = index


cdef inline uint32_t oldest(Table *table) noexcept nogil:
    """The entry of a table with any that is the first to expire."""
    return table.heap.order[0] if table.heap.order != NULL else table.births[0].next_born


cdef inline double size_at(Table *table, uint32_t index) noexcept nogil:
    return table.sizes[index] if table.sized else 1.0


cdef void table_start(Table *table) noexcept nogil
cdef void table_free(Table *table) noexcept
cdef int table_reserve(Table *table, double capacity) noexcept
cdef int table_order(Table *table, double deadline, bint own) noexcept
cdef uint32_t table_add(
    Table *table, uint32_t tag, PyObject *key, PyObject *value, double size, double deadline
) noexcept nogil
cdef PyObject *table_replace(
    Table *table, uint32_t index, PyObject *value, double size, double deadline
) noexcept nogil
cdef void table_take(Table *table, uint32_t index) noexcept
