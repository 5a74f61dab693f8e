"""The index of a shard: open addressing by tags, in the order of the tags.

A tag is mapped to its home by multiplication, so that the homes are in the order of the
tags, and slots are kept in that order too: what is displaced lies behind its home, before
the first larger tag. A search ends at a larger tag, a miss as soon as a hit; any number of
homes will do, so that the table is as large as it has to be; and it is made larger by
walking along it once.

What does not fit behind the last home overflows into further slots. The very last slot is
always empty, so that every walk ends.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memmove


cdef enum:
    FIRST_HOMES = 16
    OVERFLOW = 8

# What an index without memory points to.
cdef Slot[NEAR] _NONE
blank(_NONE, 0, NEAR)


cdef void slots_start(Slots *slots) noexcept nogil:
    """An empty index, which needs no memory."""
    slots.table = _NONE
    slots.homes = 0
    slots.end = NEAR


cdef void slots_free(Slots *slots) noexcept:
    if slots.homes != 0:
        PyMem_Free(slots.table)
    slots_start(slots)


cdef int slots_reserve(Slots *slots, uint32_t count, uint32_t most) noexcept:
    """Room for one more than `count`, so that adding it cannot fail; -1 without memory.

    `most` is how many there will ever be: no more is taken than they need.
    """
    cdef uint64_t homes = slots.homes
    if <uint64_t>count * 5 + 5 > homes * 4:
        homes = max(homes + homes // 2, <uint64_t>FIRST_HOMES)
        homes = max(min(homes, <uint64_t>most * 5 // 4 + 1), <uint64_t>count * 5 // 4 + 2)
        if widen(slots, <uint32_t>homes) < 0:
            return -1
    if slots.table[slots.end - 2].entry != 0:
        return extend(slots)
    return 0


cdef int extend(Slots *slots) noexcept:
    """More slots behind the last home."""
    cdef uint32_t end = slots.end + max(slots.end - slots.homes, <uint32_t>OVERFLOW)
    cdef Slot *table = <Slot *>PyMem_Realloc(slots.table, end * sizeof(Slot))
    if table == NULL:
        return -1
    blank(table, slots.end, end)
    slots.table = table
    slots.end = end
    return 0


cdef int widen(Slots *slots, uint32_t homes) noexcept:
    """More homes. The tags are enough to place them: no entry is touched."""
    cdef Slot *old = slots.table
    cdef Slot *table
    cdef uint32_t end = 0
    cdef uint32_t place = 0
    cdef uint32_t i
    for i in range(slots.end):
        if old[i].entry != 0:
            end = max(home_of(homes, old[i].tag), end) + 1
    end = max(end, homes) + OVERFLOW
    table = <Slot *>PyMem_Malloc(end * sizeof(Slot))
    if table == NULL:
        return -1
    blank(table, 0, end)
    for i in range(slots.end):
        if old[i].entry != 0:
            place = max(home_of(homes, old[i].tag), place)
            table[place] = old[i]
            place += 1
    slots_free(slots)
    slots.table = table
    slots.homes = homes
    slots.end = end
    return 0


cdef void blank(Slot *table, uint32_t start, uint32_t end) noexcept nogil:
    cdef uint32_t i
    for i in range(start, end):
        table[i].tag = NO_TAG
        table[i].entry = 0


cdef void slots_add(Slots *slots, uint32_t tag, uint32_t entry) noexcept nogil:
    """Add a slot, for which there is room, behind those of the same tag."""
    cdef Slot *place = slots_first(slots, tag)
    cdef Slot *last
    while place.tag == tag and place.entry != 0:
        place += 1
    last = place
    while last.entry != 0:
        last += 1
    memmove(place + 1, place, <size_t>(last - place) * sizeof(Slot))
    place.tag = tag
    place.entry = entry


cdef void slots_remove(Slots *slots, uint32_t tag, uint32_t entry) noexcept nogil:
    """Remove the slot of an entry; what it had displaced moves back."""
    cdef Slot *place = slots_first(slots, tag)
    cdef Slot *last
    while place.entry != entry:
        place += 1
    last = place + 1
    while last.entry != 0 and home_of(slots.homes, last.tag) < <size_t>(last - slots.table):
        last += 1
    memmove(place, place + 1, <size_t>(last - place - 1) * sizeof(Slot))
    last[-1].tag = NO_TAG
    last[-1].entry = 0
