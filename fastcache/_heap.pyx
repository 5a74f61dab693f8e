"""The entries of a shard by deadline, for items with their own TTL.

A binary heap of indices, with the position of each entry in it. A shard has one only while its
deadlines are not in the order of insertion; see _table.
"""

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint32_t


cdef void heap_free(Heap *heap) noexcept:
    """Free the memory; the heap is then empty and unused."""
    PyMem_Free(heap.order)
    PyMem_Free(heap.places)
    heap.order = NULL
    heap.places = NULL
    heap.count = 0


cdef int heap_resize(Heap *heap, uint32_t room) noexcept:
    """Make room for entries with indices below `room`; -1 if there is no memory."""
    cdef void *places = PyMem_Realloc(heap.places, room * sizeof(uint32_t))
    cdef void *order
    if places == NULL:
        return -1
    heap.places = <uint32_t *>places
    order = PyMem_Realloc(heap.order, room * sizeof(uint32_t))
    if order == NULL:
        return -1
    heap.order = <uint32_t *>order
    return 0


cdef void heap_push(Heap *heap, const TableEntry *entries, uint32_t index) noexcept nogil:
    """Add an entry; there must be room for it."""
    cdef uint32_t place = heap.count
    heap.count += 1
    put(heap, place, index)
    rise(heap, entries, place)


cdef void heap_update(Heap *heap, const TableEntry *entries, uint32_t index) noexcept nogil:
    """Move an entry whose deadline has changed."""
    rise(heap, entries, heap.places[index])
    sink(heap, entries, heap.places[index])


cdef void heap_remove(Heap *heap, const TableEntry *entries, uint32_t index) noexcept nogil:
    cdef uint32_t place = heap.places[index]
    cdef uint32_t last
    heap.count -= 1
    last = heap.order[heap.count]
    if last != index:
        put(heap, place, last)
        heap_update(heap, entries, last)


cdef inline void put(Heap *heap, uint32_t place, uint32_t index) noexcept nogil:
    heap.order[place] = index
    heap.places[index] = place


cdef void rise(Heap *heap, const TableEntry *entries, uint32_t place) noexcept nogil:
    cdef uint32_t index = heap.order[place]
    cdef double deadline = entries[index].deadline
    cdef uint32_t parent
    while place != 0:
        parent = (place - 1) // 2
        if not (deadline < entries[heap.order[parent]].deadline):
            break
        put(heap, place, heap.order[parent])
        place = parent
    put(heap, place, index)


cdef void sink(Heap *heap, const TableEntry *entries, uint32_t place) noexcept nogil:
    cdef uint32_t index = heap.order[place]
    cdef double deadline = entries[index].deadline
    cdef uint32_t child
    while True:
        child = place * 2 + 1
        if child >= heap.count:
            break
        if child + 1 < heap.count and (
            entries[heap.order[child + 1]].deadline < entries[heap.order[child]].deadline
        ):
            child += 1
        if not (entries[heap.order[child]].deadline < deadline):
            break
        put(heap, place, heap.order[child])
        place = child
    put(heap, place, index)
