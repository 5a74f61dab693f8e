"""The entries of a shard: C arrays, an index to find them, and their orders.

Entries are linked into two rings by index, both rooted at index 0: one by use (the next of the root
is the least recently used) and one by birth (the next of the root is the oldest). With a single
TTL, the order of birth is the order of expiry. When an item with its own TTL would break that
order, a heap is used until the table is empty again.

Nothing here runs Python code, takes a lock or counts references: the callers do.
"""

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from libc.math cimport INFINITY
from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.string cimport memmove

from fastcache._entry cimport Birth, TableEntry
from fastcache._heap cimport heap_free, heap_push, heap_remove, heap_resize, heap_update
from fastcache._sizes cimport Size, size_add, size_of, size_take
from fastcache._slots cimport (
    slots_add,
    slots_free,
    slots_remove,
    slots_reserve,
    slots_start,
)


cdef extern from *:
    """
    static _Thread_local uint64_t fastcache_removals;
    """
    uint64_t removals_of_thread "fastcache_removals"


cdef enum:
    FIRST_ROOM = 8
    MOST_ENTRIES = 0x40000000


cdef void table_start(Table *table) noexcept nogil:
    """Make an empty table, which needs no memory; its kind (such as `sized`) is unchanged."""
    table.entries = NULL
    table.births = NULL
    table.sizes = NULL
    table.block = NULL
    table.heap.order = NULL
    table.heap.places = NULL
    table.heap.count = 0
    table.room = 0
    table.used = 0
    table.free = 0
    table.count = 0
    table.mixed = False
    table.total = size_of(0)
    table.version += 1
    slots_start(&table.slots)


cdef void table_free(Table *table) noexcept:
    """Free the arrays. The caller owns the references in them."""
    PyMem_Free(table.block)
    PyMem_Free(table.births)
    PyMem_Free(table.sizes)
    heap_free(&table.heap)
    slots_free(&table.slots)
    table_start(table)


cdef int table_reserve(Table *table, uint64_t most) noexcept:
    """Make room for one more entry, so that adding it cannot fail; -1 if there is no memory.

    `most` is the maximum number of entries.
    """
    cdef uint32_t room = <uint32_t>min(most, <uint64_t>MOST_ENTRIES)
    if table.free == 0 and table.used >= table.room and grow(table, room) < 0:
        return -1
    return slots_reserve(&table.slots, table.count, room)


cdef int table_order(Table *table, double deadline, bint own) noexcept:
    """Prepare to store an item with this deadline; -1 if there is no memory.

    `own`: the item has its own TTL. Without one, deadlines are out of order only because of a race
    between threads or because the timer went back; then the ring is still used.
    """
    cdef uint32_t index
    table.mixed = table.mixed or own
    if not table.mixed or table.heap.order != NULL or table.count == 0:
        return 0
    if not (deadline < table.entries[table.births[0].prev_born].deadline):
        return 0
    if heap_resize(&table.heap, table.room) < 0:
        return -1
    index = table.births[0].next_born
    while index != 0:
        heap_push(&table.heap, table.entries, index)
        index = table.births[index].next_born
    return 0


cdef uint32_t table_add(
    Table *table, uint32_t tag, PyObject *key, PyObject *value, Size *size, double deadline
) noexcept nogil:
    """Add an entry as the youngest and the most recently used; there must be room for it."""
    cdef uint32_t index = table.free
    cdef TableEntry *entry
    if index != 0:
        table.free = table.entries[index].next_used
    else:
        index = table.used
        table.used += 1
    entry = &table.entries[index]
    entry.key = key
    entry.value = value
    entry.deadline = deadline
    table.serial += 1
    table.births[index].tag = tag
    table.births[index].serial = table.serial
    if table.sized:
        table.sizes[index] = size[0]
        size_add(&table.total, size)
    table.count += 1
    table.version += 1
    link_used(table, index)
    link_born(table, index)
    slots_add(&table.slots, tag, index)
    if table.heap.order != NULL:
        heap_push(&table.heap, table.entries, index)
    return index


cdef PyObject *table_replace(
    Table *table, uint32_t index, PyObject *value, Size *size, double deadline
) noexcept nogil:
    """Replace the value of an entry; returns the old one."""
    cdef TableEntry *entry = &table.entries[index]
    cdef Birth *birth = &table.births[index]
    cdef PyObject *before = entry.value
    entry.value = value
    entry.deadline = deadline
    if table.sized:
        size_take(&table.total, &table.sizes[index])
        size_add(&table.total, size)
        table.sizes[index] = size[0]
    if table.reborn:
        table.births[birth.prev_born].next_born = birth.next_born
        table.births[birth.next_born].prev_born = birth.prev_born
        link_born(table, index)
    if table.heap.order != NULL:
        heap_update(&table.heap, table.entries, index)
    touch(table, index)
    return before


cdef void table_take(Table *table, uint32_t index) noexcept:
    """Remove an entry; the caller has already read its references."""
    cdef TableEntry *entry = &table.entries[index]
    cdef Birth *birth = &table.births[index]
    slots_remove(&table.slots, birth.tag, index)
    if table.heap.order != NULL:
        heap_remove(&table.heap, table.entries, index)
    table.entries[entry.prev_used].next_used = entry.next_used
    table.entries[entry.next_used].prev_used = entry.prev_used
    table.births[birth.prev_born].next_born = birth.next_born
    table.births[birth.next_born].prev_born = birth.prev_born
    if table.sized:
        size_take(&table.total, &table.sizes[index])
    table.count -= 1
    table.version += 1
    if table.watched:
        add_removals(1)
    if table.count == 0:
        table.mixed = False
        heap_free(&table.heap)
    entry.key = NULL
    entry.value = NULL
    entry.next_used = table.free
    birth.serial = 0
    table.free = index


cdef void add_removals(uint64_t count) noexcept nogil:
    """Count entries that this thread removes from a watched table."""
    global removals_of_thread
    removals_of_thread += count


cdef uint64_t removals_here() noexcept nogil:
    """The number of entries that this thread has ever removed from watched tables."""
    return removals_of_thread


# ------------------------------------------------------------------ helpers

cdef void link_used(Table *table, uint32_t index) noexcept nogil:
    cdef uint32_t last = table.entries[0].prev_used
    table.entries[index].prev_used = last
    table.entries[index].next_used = 0
    table.entries[last].next_used = index
    table.entries[0].prev_used = index


cdef void link_born(Table *table, uint32_t index) noexcept nogil:
    cdef uint32_t last = table.births[0].prev_born
    table.births[index].prev_born = last
    table.births[index].next_born = 0
    table.births[last].next_born = index
    table.births[0].prev_born = index


cdef int grow(Table *table, uint32_t most) noexcept:
    """Make room for more entries, up to the maximum number of entries."""
    cdef uint64_t room = <uint64_t>table.room + table.room // 4 + FIRST_ROOM
    cdef void *births
    cdef void *sizes
    room = min(room, <uint64_t>most + 1)
    if room <= table.room:
        return -1
    births = PyMem_Realloc(table.births, room * sizeof(Birth))
    if births == NULL:
        return -1
    table.births = <Birth *>births
    if table.sized:
        sizes = PyMem_Realloc(table.sizes, room * sizeof(Size))
        if sizes == NULL:
            return -1
        table.sizes = <Size *>sizes
    if table.heap.order != NULL and heap_resize(&table.heap, <uint32_t>room) < 0:
        return -1
    if move_entries(table, room) < 0:
        return -1
    if table.room == 0:
        table.entries[0] = TableEntry(
            key=NULL, value=NULL, deadline=-INFINITY, next_used=0, prev_used=0
        )
        table.births[0] = Birth(tag=0, serial=0, next_born=0, prev_born=0)
        table.used = 1
    table.room = <uint32_t>room
    return 0


cdef int move_entries(Table *table, uint64_t room) noexcept:
    """Allocate larger memory for the entries, each within one cache line."""
    cdef size_t align = sizeof(TableEntry)
    cdef size_t before = <size_t>(<char *>table.entries - <char *>table.block)
    cdef size_t after
    cdef char *block = <char *>PyMem_Realloc(table.block, room * sizeof(TableEntry) + align)
    if block == NULL:
        return -1
    after = (align - <uintptr_t>block % align) % align
    if after != before and table.used != 0:
        memmove(block + after, block + before, table.used * sizeof(TableEntry))
    table.block = block
    table.entries = <TableEntry *>(block + after)
    return 0
