# The entries of a shard, as other compiled modules see them.

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
    Size *sizes         # NULL where every item counts 1
    void *block         # the memory that `entries` is aligned in
    Heap heap           # in use while deadlines are not in the order of birth
    uint32_t room       # entries allocated
    uint32_t used       # entries ever handed out, the root included
    uint32_t free       # the first free entry, 0 for none
    uint32_t count      # live entries
    uint32_t serial
    bint sized
    bint watched        # each thread counts the entries that it removes
    bint reborn         # storing an existing key makes its entry the youngest
    bint mixed          # an item came with a ttl of its own since the table was empty
    uint64_t version    # changes whenever the slots do
    Size total          # sum of the sizes, if sizes are kept


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
    """The entry of a table with any that is the first to expire."""
    return table.heap.order[0] if table.heap.order != NULL else table.births[0].next_born


cdef inline Size size_at(Table *table, uint32_t index) noexcept nogil:
    return table.sizes[index] if table.sized else size_of(1)


cdef inline Size sum_in(Table *table) noexcept nogil:
    """The sum of the sizes."""
    return table.total if table.sized else size_of(table.count)


cdef inline bint exceeds(
    Table *table, uint32_t index, Size *size, uint64_t most, Size *capacity
) noexcept nogil:
    """Whether storing `size` in the entry at `index`, 0 for a new one, exceeds the limit.

    The limit is `most` entries if no sizes are kept, else `capacity` for their sum.
    """
    if not table.sized:
        return table.count + <uint64_t>(index == 0) > most
    return size_lacks(
        &table.total, &table.sizes[index] if index != 0 else NULL, size, capacity
    )


cdef inline uint32_t removals_in(Table *table) noexcept nogil:
    """The number of entries ever removed, modulo 2**32. Each entry added took a serial."""
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
