# Declarations for other compiled modules: the entries of a shard.

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from fastcache._entry cimport Birth, TableEntry
from fastcache._heap cimport Heap
from fastcache._sizes cimport Size, size_lacks, size_of
from fastcache._slots cimport Slots


cdef struct Table:
    TableEntry *entries  # entries[0] is the root of the ring by use
    Slots slots
    Birth *births       # births[0] is the root of the ring by birth
    Size *sizes         # NULL if the size of every item is 1
    void *block         # the allocated memory, in which `entries` is aligned
    Heap heap           # used while deadlines are not in the order of insertion
    uint32_t room       # entries allocated
    uint32_t used       # entries ever used, including the root
    uint32_t free       # the first free entry; 0 if there is none
    uint32_t count      # live entries
    uint32_t serial
    bint sized
    bint watched        # each thread counts the entries that it removes
    bint reborn         # storing an existing key makes its entry the youngest
    bint mixed          # an item with its own TTL was stored since the table was empty
    uint64_t version    # changes whenever the slots change
    Size total          # sum of the sizes, in a table with sizes


cdef inline void touch(Table *table, uint32_t index) noexcept nogil:
    """Make the entry the most recently used."""
    cdef TableEntry *entries = table.entries
    cdef TableEntry *entry = &entries[index]
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
    """The entry that expires first; the table must not be empty."""
    return table.heap.order[0] if table.heap.order != NULL else table.births[0].next_born


cdef inline Size size_at(Table *table, uint32_t index) noexcept nogil:
    return table.sizes[index] if table.sized else size_of(1)


cdef inline Size sum_in(Table *table) noexcept nogil:
    """The sum of the sizes."""
    return table.total if table.sized else size_of(table.count)


cdef inline bint exceeds(
    Table *table, uint32_t index, Size *size, uint64_t most, Size *capacity
) noexcept nogil:
    """Whether storing `size` in the entry at `index` (0: a new one) exceeds the limit.

    The limit is `most` entries in a table without sizes, otherwise `capacity` for their sum.
    """
    if not table.sized:
        return table.count + <uint64_t>(index == 0) > most
    return size_lacks(
        &table.total, &table.sizes[index] if index != 0 else NULL, size, capacity
    )


cdef inline uint32_t removals_in(Table *table) noexcept nogil:
    """The number of entries ever removed, modulo 2**32. Each added entry used up one serial."""
    return table.serial - table.count


cdef void add_removals(uint64_t count) noexcept nogil
cdef uint64_t removals_here() noexcept nogil
cdef void table_start(Table *table) noexcept nogil
cdef void table_free(Table *table) noexcept
cdef int table_reserve(Table *table, uint64_t most) noexcept
cdef int table_order(Table *table, double deadline, bint own) noexcept
cdef uint32_t table_add(
    Table *table, uint32_t tag, PyObject *key, PyObject *value, Size *size, double deadline
) noexcept nogil
cdef PyObject *table_replace(
    Table *table, uint32_t index, PyObject *value, Size *size, double deadline
) noexcept nogil
cdef void table_take(Table *table, uint32_t index) noexcept
