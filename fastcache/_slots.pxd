# Declarations for other compiled modules: the index of a shard, with tags in order.

from libc.stdint cimport uint32_t, uint64_t


cdef enum:
    NO_TAG = 0xFFFFFFFF     # of an empty slot; a key may also have it
    NEAR = 4                # slots that may be read from any home onwards


cdef struct Slot:
    uint32_t tag        # the low half of the key's mix
    uint32_t entry      # index of the entry, 0 for an empty slot


cdef struct Slots:
    Slot *table
    uint32_t homes      # number of positions that tags are mapped to
    uint32_t end        # number of slots, with the overflow; the last one is always empty


# Multiplication by 2**64 divided by the golden ratio: it spreads hash(int) == int.
cdef inline uint64_t mix_of(Py_hash_t hash_value) noexcept nogil:
    cdef uint64_t mixed = <uint64_t>hash_value * <uint64_t>0x9E3779B97F4A7C15
    return mixed ^ (mixed >> 32)


cdef inline uint32_t home_of(uint32_t homes, uint32_t tag) noexcept nogil:
    """The home of a tag. It increases with the tag, so the table stays in order."""
    return <uint32_t>((<uint64_t>tag * homes) >> 32)


cdef inline Slot *slots_home(Slots *slots, uint32_t tag) noexcept nogil:
    return &slots.table[home_of(slots.homes, tag)]


cdef inline Slot *slots_first(Slots *slots, uint32_t tag) noexcept nogil:
    """The first slot with this tag, or the slot where it would be."""
    cdef Slot *slot = slots_home(slots, tag)
    cdef uint32_t before = 0
    cdef int i
    # A tag's distance from its home is unpredictable: near slots are checked without a branch.
    for i in range(NEAR):
        before += slot[i].tag < tag
    slot += before
    while slot.tag < tag:
        slot += 1
    return slot


cdef void slots_start(Slots *slots) noexcept nogil
cdef void slots_free(Slots *slots) noexcept
cdef int slots_reserve(Slots *slots, uint32_t count, uint32_t most) noexcept
cdef void slots_add(Slots *slots, uint32_t tag, uint32_t entry) noexcept nogil
cdef void slots_remove(Slots *slots, uint32_t tag, uint32_t entry) noexcept nogil
