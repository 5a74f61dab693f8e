"""The index of a shard: open addressing by tags, in the order of the tags.

A tag is mapped to its home by multiplication, so the homes are in the order of the tags. The slots
are kept in that order, too: a displaced slot lies after its home and before the first larger tag.
This has three advantages. A search stops at a larger tag, so a miss is as fast as a hit. The number
of homes is arbitrary, so the table is only as large as needed. And it is enlarged in one pass.

Slots that do not fit after the last home overflow into additional slots. The very last slot is
always empty, so that every walk ends.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memmove


cdef enum:
    FIRST_HOMES = 16
    OVERFLOW = 8

# The table of an index that has no memory yet.
cdef Slot[NEAR] _NONE
blank(_NONE, 0, NEAR)


cdef void slots_start(Slots *slots) noexcept nogil:
    """Make an empty index, which needs no memory."""
    slots.table = _NONE
    slots.homes = 0
    slots.end = NEAR


cdef void slots_free(Slots *slots) noexcept:
    if slots.homes != 0:
        PyMem_Free(slots.table)
    slots_start(slots)


cdef int slots_reserve(Slots *slots, uint32_t count, uint32_t most) noexcept:
    """Make room for one more than `count`, so that adding it cannot fail; -1 if there is no memory.

    `most` is the maximum number of entries: no more memory is allocated than they need.
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
    """Add overflow slots after the last home."""
    cdef uint32_t end = slots.end + max(slots.end - slots.homes, <uint32_t>OVERFLOW)
    cdef Slot *table = <Slot *>PyMem_Realloc(slots.table, end * sizeof(Slot))
    if table == NULL:
        return -1
    blank(table, slots.end, end)
    slots.table = table
    slots.end = end
    return 0


cdef int widen(Slots *slots, uint32_t homes) noexcept:
    """Increase the number of homes. The tags are enough to place them: no entry is read."""
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
    """Add a slot after those of the same tag; there must be room for it."""
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
    """Remove the slot of an entry; slots that it had displaced move back."""
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
