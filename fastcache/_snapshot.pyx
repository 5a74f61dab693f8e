"""The state of a shard at one moment: its statistics, marks for iteration, copies for pickling.

Each is read completely under the shard's lock.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fastcache._entry cimport TableEntry
from fastcache._garbage cimport Garbage, garbage_add
from fastcache._shard cimport Counts, Shard, fastcache_give, lock, unlock
from fastcache._sizes cimport Size, exact_number, size_roughly
from fastcache._table cimport Table, removals_here, removals_in, size_at, sum_in


cdef extern from "Python.h":
    void decref "Py_DECREF"(PyObject *reference) noexcept
    void incref "Py_INCREF"(PyObject *reference) noexcept


cdef struct Copy:       # an item with its own references
    PyObject *key
    PyObject *value
    Size size
    double deadline
    uint32_t entry


cdef Mark *marks_of(Shard shard, uint32_t *count) except? NULL:
    """Marks of all entries, oldest first; the caller frees them."""
    cdef Table *table = &shard.table
    cdef Mark *marks = NULL
    cdef uint32_t index = 0
    cdef uint32_t i = 0
    lock(&shard.mutex)
    count[0] = table.count
    if count[0] != 0:
        marks = <Mark *>PyMem_Malloc(count[0] * sizeof(Mark))
        if marks != NULL:
            index = table.births[0].next_born
    while index != 0:
        marks[i] = Mark(entry=index, serial=table.births[index].serial)
        i += 1
        index = table.births[index].next_born
    unlock(&shard.mutex)
    if i != count[0]:
        raise MemoryError
    return marks


cdef bint read_mark(
    Shard shard, Mark mark, double now, PyObject **key, PyObject **value
) noexcept:
    """New references to the key and value of a marked entry, if it still exists and is live."""
    cdef Table *table = &shard.table
    cdef TableEntry *entry
    cdef bint found = False
    lock(&shard.mutex)
    if mark.entry < table.used and table.births[mark.entry].serial == mark.serial:
        entry = &table.entries[mark.entry]
        found = entry.key != NULL and now < entry.deadline
        if found:
            key[0] = entry.key
            value[0] = entry.value
            incref(key[0])
            incref(value[0])
    unlock(&shard.mutex)
    return found


cdef Copy *copies_of(Shard shard, uint32_t *count, uint32_t **use) except? NULL:
    """All entries, oldest first, and their indices by use; the caller frees both."""
    cdef Table *table = &shard.table
    cdef Copy *copies = NULL
    cdef uint32_t index
    cdef uint32_t i
    cdef bint failed = False
    use[0] = NULL
    lock(&shard.mutex)
    count[0] = table.count
    if count[0] != 0:
        copies = <Copy *>PyMem_Malloc(count[0] * sizeof(Copy))
        use[0] = <uint32_t *>PyMem_Malloc(count[0] * sizeof(uint32_t))
        failed = copies == NULL or use[0] == NULL
    if count[0] != 0 and not failed:
        index = table.births[0].next_born
        for i in range(count[0]):
            copies[i].key = table.entries[index].key
            copies[i].value = table.entries[index].value
            copies[i].size = size_at(table, index)
            copies[i].deadline = table.entries[index].deadline
            copies[i].entry = index
            incref(copies[i].key)
            incref(copies[i].value)
            index = table.births[index].next_born
        index = table.entries[0].next_used
        for i in range(count[0]):
            use[0][i] = index
            index = table.entries[index].next_used
    unlock(&shard.mutex)
    if failed:
        PyMem_Free(copies)
        PyMem_Free(use[0])
        raise MemoryError
    return copies


cdef bint read_shard(Shard shard, list entries, list use) except -1:
    """Append a shard's items to `entries` and their numbers there to `use`.

    Returns whether storing makes an entry the youngest.
    """
    cdef Copy *copies
    cdef uint32_t *by_use = NULL
    cdef uint32_t count = 0
    cdef uint32_t taken = 0
    cdef uint32_t i
    cdef dict numbers = {}
    copies = copies_of(shard, &count, &by_use)
    try:
        while taken < count:
            # Both references are objects before anything can fail.
            key = fastcache_give(copies[taken].key)
            value = fastcache_give(copies[taken].value)
            taken += 1
            numbers[copies[taken - 1].entry] = len(entries)
            size = exact_number(copies[taken - 1].size)
            entries.append((key, value, size, copies[taken - 1].deadline))
        for i in range(count):
            use.append(numbers[by_use[i]])
    finally:
        for i in range(taken, count):
            decref(copies[i].key)
            decref(copies[i].value)
        PyMem_Free(copies)
        PyMem_Free(by_use)
    return shard.table.reborn


cdef bint peek_used(Shard shard, Garbage *garbage) noexcept:
    """New references to the least recently used key and value, in an empty garbage."""
    cdef TableEntry *entry
    cdef bint found
    lock(&shard.mutex)
    found = shard.table.count != 0
    if found:
        entry = &shard.table.entries[shard.table.entries[0].next_used]
        incref(entry.key)
        incref(entry.value)
        garbage_add(garbage, entry.key)
        garbage_add(garbage, entry.value)
    unlock(&shard.mutex)
    return found


cdef uint32_t sum_of(Shard shard, Size *total) noexcept:
    """Set `total` to the sum of the sizes; returns the number of entries."""
    cdef uint32_t entries
    lock(&shard.mutex)
    total[0] = sum_in(&shard.table)
    entries = shard.table.count
    unlock(&shard.mutex)
    return entries


cdef double load_of(Shard shard, double *capacity) noexcept:
    """The sum of the sizes, -1.0 without entries; sets `capacity`. Both are rounded."""
    cdef double total
    lock(&shard.mutex)
    total = size_roughly(sum_in(&shard.table)) if shard.table.count != 0 else -1.0
    unlock(&shard.mutex)
    capacity[0] = size_roughly(shard.capacity) if shard.table.sized else <double>shard.most
    return total


cdef Removals removals_of(tuple shards) noexcept:
    """The removals so far from these shards, and by this thread."""
    cdef Removals found = Removals(all=0, own=removals_here())
    for shard in shards:
        lock(&(<Shard>shard).mutex)
        found.all += removals_in(&(<Shard>shard).table)
        unlock(&(<Shard>shard).mutex)
    return found


cdef bint removed_by_others(tuple shards, Removals before) noexcept:
    """Whether other threads have removed items since `before`, and this thread has not.

    If so, a KeyError of an override is attributed to an item that another thread removed.
    """
    cdef Removals now = removals_of(shards)
    return now.own == before.own and now.all != before.all


cdef void add_counts(Shard shard, Counts *counts) noexcept:
    """Add a shard's counts to `counts`."""
    lock(&shard.mutex)
    counts.hits += shard.counts.hits
    counts.misses += shard.counts.misses
    counts.evictions += shard.counts.evictions
    counts.expirations += shard.counts.expirations
    unlock(&shard.mutex)
