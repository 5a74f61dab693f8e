# cython: cdivision=True
"""The memory of a SharedCache: its header, sets and slots, and their layout.

The header comes first, followed by the sets. A set has a lock for writers, a tag for each of its
slots, and the slots. The values in the header are checked before they are used.
"""

cimport cython
from libc.errno cimport ENOSYS
from libc.stdint cimport uint64_t
from libc.string cimport memset

from fastcache.shared._words cimport Words


cdef extern from "_atomics.h":
    uint64_t fastcache_load(uint64_t *word) noexcept nogil
    uint64_t fastcache_load_relaxed(uint64_t *word) noexcept nogil
    void fastcache_store(uint64_t *word, uint64_t value) noexcept nogil


cdef extern from "_robust_lock.h":
    bint fastcache_robust_supported() noexcept nogil


cdef uint64_t MAGIC = 0x3143534853434146    # "FACSHSC1" in memory
cdef uint64_t LAYOUT = 2


cdef size_t words_of_set(uint64_t slot_size, uint64_t ways) noexcept nogil:
    cdef uint64_t tag_words = (ways + LINE - 1) // LINE * LINE
    return G_TAGS + tag_words + ways * (slot_size // WORD)


cdef uint64_t checked(object number, str name, uint64_t least, uint64_t most) except? 0:
    if not isinstance(number, int):
        raise TypeError(f"{name} must be an int, not {type(number).__name__}")
    if not least <= number <= most:
        raise ValueError(f"{name} must be {least} to {most}, not {number}")
    return number


cdef Words area_of(object memory):
    """The passed memory, as words."""
    cdef Words area = Words.__new__(Words)
    with memoryview(memory) as view:
        area.map(view.nbytes // WORD, memory)
    return area


cdef int lay_out(Words area, object slot_size, object ways) except -1:
    """Format memory with the caller's geometry; None means the default."""
    cdef uint64_t slot = checked(256 if slot_size is None else slot_size, "slot_size", 48, 65536)
    if slot % WORD != 0:
        raise ValueError(f"slot_size must be a multiple of {WORD}, not {slot}")
    return write_format(area, slot, checked(8 if ways is None else ways, "ways", 1, 64))


cdef int write_format(Words area, uint64_t slot_size, uint64_t ways) except -1:
    """Write an empty cache to the memory; the magic number is written last."""
    cdef uint64_t *words = area.words
    cdef size_t set_words = words_of_set(slot_size, ways)
    cdef uint64_t sets
    if area.count < <Py_ssize_t>(HEADER + set_words):
        raise ValueError(
            f"memory has {area.count * WORD} bytes, one set of {ways} slots needs "
            f"{(HEADER + set_words) * WORD}"
        )
    sets = min((<uint64_t>area.count - HEADER) // set_words, 0xFFFFFFFFU)
    if not fastcache_robust_supported():
        raise OSError(ENOSYS, "the kernel has no robust locks (get_robust_list)")
    memset(words, 0, <size_t>area.count * WORD)
    words[H_LAYOUT] = LAYOUT
    words[H_GEOMETRY] = slot_size << 32 | ways
    words[H_SETS] = sets
    words[H_EPOCH] = 1
    fastcache_store(&words[H_MAGIC], MAGIC)
    return 0


@cython.auto_pickle(False)
@cython.no_gc_clear
cdef class SharedTable:
    """Formatted memory, and the layout of its parts."""

    # no_gc_clear: `words` must not outlive the memory.

    cdef int open(self, Words area) except -1:
        """Use formatted memory."""
        cdef uint64_t *words = area.words
        cdef uint64_t geometry, slot_size, ways, sets
        if area.count < HEADER or fastcache_load(&words[H_MAGIC]) != MAGIC:
            raise ValueError("memory contains no SharedCache: format it first")
        if fastcache_load(&words[H_LAYOUT]) != LAYOUT:
            raise ValueError("memory contains a SharedCache of another layout")
        # Each word is read once: another process may change the memory after the check.
        geometry = fastcache_load(&words[H_GEOMETRY])
        sets = fastcache_load(&words[H_SETS])
        slot_size = geometry >> 32
        ways = geometry & 0xFFFFFFFFU
        if not (
            48 <= slot_size <= 65536
            and slot_size % WORD == 0
            and 1 <= ways <= 64
            and 1 <= sets <= 0xFFFFFFFFU
            and sets <= (<uint64_t>area.count - HEADER) // words_of_set(slot_size, ways)
        ):
            raise ValueError("memory contains a damaged SharedCache, or is too small for it")
        self.area = area
        self.ways = ways
        self.slot_words = slot_size // WORD
        self.tag_words = (ways + LINE - 1) // LINE * LINE
        self.set_words = words_of_set(slot_size, ways)
        self.sets = sets
        self.words = words
        return 0

    @property
    def slot_size(self):
        """The number of bytes of a slot: 32 more than those for the key and the value."""
        return self.slot_words * WORD

    @property
    def capacity(self):
        """The number of slots."""
        return self.sets * self.ways

    cdef uint64_t *set_of(self, uint64_t hashed) noexcept nogil:
        return &self.words[HEADER + ((hashed >> 32) * self.sets >> 32) * self.set_words]

    cdef uint64_t *slot_of(self, uint64_t *group, uint64_t way) noexcept nogil:
        return &group[G_TAGS + self.tag_words + way * self.slot_words]

    cdef bint is_live(self, uint64_t meta, uint64_t deadline, uint64_t now) noexcept nogil:
        cdef uint64_t epoch = fastcache_load_relaxed(&self.words[H_EPOCH]) & 0xFFFFFFFFU
        return meta != 0 and meta >> 32 == epoch and deadline > now

    cdef uint64_t live_slots(self, uint64_t now) noexcept nogil:
        """The number of slots with a value that has not expired."""
        cdef uint64_t live = 0, number, way
        cdef uint64_t *group
        cdef uint64_t *slot
        for number in range(self.sets):
            group = &self.words[HEADER + number * self.set_words]
            for way in range(self.ways):
                slot = self.slot_of(group, way)
                live += self.is_live(
                    fastcache_load_relaxed(&slot[S_META]),
                    fastcache_load_relaxed(&slot[S_DEADLINE]),
                    now,
                )
        return live
