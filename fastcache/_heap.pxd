# Declarations for other compiled modules: entries by deadline.

from libc.stdint cimport uint32_t

from fastcache._entry cimport TableEntry


cdef struct Heap:
    uint32_t *order     # indices of entries, the first to expire at 0; NULL if unused
    uint32_t *places    # the position of each entry in `order`
    uint32_t count


cdef void heap_free(Heap *heap) noexcept
cdef int heap_resize(Heap *heap, uint32_t room) noexcept
cdef void heap_push(Heap *heap, const TableEntry *entries, uint32_t index) noexcept nogil
cdef void heap_update(Heap *heap, const TableEntry *entries, uint32_t index) noexcept nogil
cdef void heap_remove(Heap *heap, const TableEntry *entries, uint32_t index) noexcept nogil
