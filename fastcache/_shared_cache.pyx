# cython: always_allow_keywords=False, cdivision=True
"""SharedCache: a set-associative table of bytes that all processes of a machine share.

The memory is a header, then sets. A set has a lock for those who write to it, a tag for
each of its slots, and the slots. A key belongs to one set by its hash; the tag says in
which slot it may be, and the slot has the whole key. Readers take no lock: a slot's words
are read as _seqlock.h says, and are only ever believed when they were not being changed.

A process may die or stop at any instruction. A writer that died leaves its set's lock
orphaned, and whoever takes it next empties the set. A writer that is stopped keeps others
from writing to its set, and readers of the slot in hand miss. What the memory says about
lengths is checked before it is used, so that no content of it leads outside.
"""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_Check,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint64_t
from libc.string cimport memset

from fastcache._shared cimport Words, text_of, word_from

from typing import NamedTuple

from fastcache._stats import SharedCacheStats

cdef object _new_tuple = tuple.__new__


cdef extern from "_atomics.h":
    uint64_t fastcache_load(uint64_t *word) noexcept nogil
    uint64_t fastcache_load_relaxed(uint64_t *word) noexcept nogil
    void fastcache_store(uint64_t *word, uint64_t value) noexcept nogil
    void fastcache_add_relaxed(uint64_t *word, uint64_t amount) noexcept nogil
    uint64_t fastcache_fetch_add(uint64_t *word, uint64_t amount) noexcept nogil


cdef extern from "_clock.h":
    uint64_t fastcache_monotonic_ns() noexcept nogil


cdef extern from "_fixed_hash.h":
    uint64_t fastcache_fixed_hash(const char *key, size_t length) noexcept nogil


cdef extern from "_seqlock.h":
    void fastcache_seq_begin(uint64_t *count) noexcept nogil
    void fastcache_seq_end(uint64_t *count) noexcept nogil
    size_t fastcache_words_for(size_t length) noexcept nogil
    void fastcache_words_put(uint64_t *words, const void *bytes, size_t length) noexcept nogil
    void fastcache_words_take(uint64_t *words, void *bytes, size_t length) noexcept nogil
    bint fastcache_words_are(uint64_t *words, const void *bytes, size_t length) noexcept nogil


cdef extern from "_robust_lock.h":
    ctypedef struct Mutex "pthread_mutex_t":
        pass
    const int TAKEN "FASTCACHE_TAKEN"
    const int ORPHANED "FASTCACHE_ORPHANED"
    const int BUSY "FASTCACHE_BUSY"
    int fastcache_robust_init(void *memory) noexcept nogil
    int fastcache_robust_try(void *memory) noexcept nogil
    void fastcache_robust_mend(void *memory) noexcept nogil
    void fastcache_robust_unlock(void *memory) noexcept nogil


cdef uint64_t MAGIC = 0x3143534853434146    # "FACSHSC1" in memory
cdef uint64_t LAYOUT = 1

# The header, by words: what does not change, then what readers count and what writers
# count, each in a cache line of its own.
cdef enum:
    H_MAGIC = 0
    H_LAYOUT = 1        # with the size of a mutex
    H_GEOMETRY = 2      # slot size, ways
    H_SETS = 3
    H_EPOCH = 4         # grows when the cache is cleared
    H_HITS = 8
    H_MISSES = 9
    H_RETRIES = 10
    H_PUTS = 16
    H_OVERSIZED = 17
    H_BUSY = 18
    H_EVICTIONS = 19
    H_RECOVERED = 20
    HEADER = 24

# A set: the lock, in a cache line with the way that the next eviction begins at; the tags;
# the slots.
cdef enum:
    G_LOCK = 0
    G_HAND = 7
    G_TAGS = 8

# A slot: see _seqlock.h for the first word. The second is 0 for an empty one, else the
# epoch in 32 bits, the key's length in 16 and the value's in 16.
cdef enum:
    S_COUNT = 0
    S_META = 1
    S_TICKET = 2
    S_DEADLINE = 3
    S_BYTES = 4

cdef enum:
    WORD = 8
    LINE = 8            # words in a cache line
    LOOKS = 8           # at a slot that changes, before it counts as a miss
    ON_STACK = 1024


class SharedEntry(NamedTuple):
    """A value and what it was stored with."""

    value: bytes
    ticket: int
    """The generation that it was read under, for the caller to compare."""
    deadline: int
    """Until when it holds, in nanoseconds of time.monotonic_ns."""


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
    """The memory given, as words."""
    cdef Words area = Words.__new__(Words)
    with memoryview(memory) as view:
        area.map(view.nbytes // WORD, memory)
    return area


cdef int lay_out(Words area, object slot_size, object ways) except -1:
    """Format memory as the caller wants it; None for what is usual."""
    cdef uint64_t slot = checked(256 if slot_size is None else slot_size, "slot_size", 48, 65536)
    if slot % WORD != 0:
        raise ValueError(f"slot_size must be a multiple of {WORD}, not {slot}")
    return write_format(area, slot, checked(8 if ways is None else ways, "ways", 1, 64))


cdef int write_format(Words area, uint64_t slot_size, uint64_t ways) except -1:
    """Make an empty cache of the memory; the magic number comes last."""
    cdef uint64_t *words = area.words
    cdef size_t set_words = words_of_set(slot_size, ways)
    cdef uint64_t sets, i
    cdef int error
    if area.count < <Py_ssize_t>(HEADER + set_words):
        raise ValueError(
            f"memory has {area.count * WORD} bytes, one set of {ways} slots needs "
            f"{(HEADER + set_words) * WORD}"
        )
    sets = min((<uint64_t>area.count - HEADER) // set_words, 0xFFFFFFFFU)
    memset(words, 0, <size_t>area.count * WORD)
    for i in range(sets):
        error = fastcache_robust_init(&words[HEADER + i * set_words + G_LOCK])
        if error != 0:
            raise OSError(error, "the system has no robust mutexes")
    words[H_LAYOUT] = LAYOUT << 32 | sizeof(Mutex)
    words[H_GEOMETRY] = slot_size << 32 | ways
    words[H_SETS] = sets
    words[H_EPOCH] = 1
    fastcache_store(&words[H_MAGIC], MAGIC)
    return 0


@cython.final
@cython.auto_pickle(False)
@cython.no_gc_clear
cdef class SharedCache:
    """A bounded table of `bytes` to `bytes` that may lose anything at any time.

    `memory` has been formatted by `format`, once, before others got to see it; without it,
    the cache has private memory of `size` bytes, with slots as `format` makes them.

    Each value is kept with a ticket, which the caller compares, and a deadline, an instant
    of time.monotonic_ns after which it is never returned. A str counts as its UTF-8 bytes.
    """

    # no_gc_clear: `words` must not outlive the memory.

    def __init__(self, memory=None, *, slot_size=None, ways=None, size=None):
        cdef Words area
        if memory is None:
            area = Words.__new__(Words)
            area.map(checked(1 << 20 if size is None else size, "size", 0, 1 << 48) // WORD, None)
            lay_out(area, slot_size, ways)
        else:
            if slot_size is not None or ways is not None or size is not None:
                raise TypeError("memory has the geometry that format gave it")
            area = area_of(memory)
        with cython.critical_section(self):
            if self.words != NULL:
                raise RuntimeError("SharedCache is initialised already")
            self.open(area)

    @staticmethod
    def format(memory, *, slot_size=None, ways=None):
        """Make an empty cache of memory that nobody uses.

        A slot takes `slot_size` bytes, 256 unless told, a multiple of 8; key and value
        share what is left of that by 32. A set has `ways` slots, 8 unless told: that many
        keys whose hashes meet can be kept at once.
        """
        lay_out(area_of(memory), slot_size, ways)

    cdef int open(self, Words area) except -1:
        """Take over memory that is formatted."""
        cdef uint64_t *words = area.words
        cdef uint64_t slot_size, ways
        if area.count < HEADER or fastcache_load(&words[H_MAGIC]) != MAGIC:
            raise ValueError("memory holds no SharedCache: format it first")
        if words[H_LAYOUT] != (LAYOUT << 32 | sizeof(Mutex)):
            raise ValueError("memory holds a SharedCache of another layout")
        slot_size = words[H_GEOMETRY] >> 32
        ways = words[H_GEOMETRY] & 0xFFFFFFFFU
        if not (
            48 <= slot_size <= 65536
            and slot_size % WORD == 0
            and 1 <= ways <= 64
            and 1 <= words[H_SETS]
            and words[H_SETS] <= (<uint64_t>area.count - HEADER) // words_of_set(slot_size, ways)
        ):
            raise ValueError("memory holds a damaged SharedCache, or is too small for it")
        self.area = area
        self.ways = ways
        self.slot_words = slot_size // WORD
        self.tag_words = (ways + LINE - 1) // LINE * LINE
        self.set_words = words_of_set(slot_size, ways)
        self.sets = words[H_SETS]
        self.words = words
        return 0

    @property
    def slot_size(self):
        """The bytes of a slot: of a key and a value, and 32 more."""
        return self.slot_words * WORD

    @property
    def capacity(self):
        """The number of slots."""
        return self.sets * self.ways

    # -------------------------------------------------------------- where things are

    cdef uint64_t *set_of(self, uint64_t hashed) noexcept nogil:
        return &self.words[HEADER + ((hashed >> 32) * self.sets >> 32) * self.set_words]

    cdef uint64_t *slot_of(self, uint64_t *group, uint64_t way) noexcept nogil:
        return &group[G_TAGS + self.tag_words + way * self.slot_words]

    cdef bint is_live(self, uint64_t meta, uint64_t deadline, uint64_t now) noexcept nogil:
        cdef uint64_t epoch = fastcache_load_relaxed(&self.words[H_EPOCH]) & 0xFFFFFFFFU
        return meta != 0 and meta >> 32 == epoch and deadline > now

    # -------------------------------------------------------------- reading

    cdef bint fetch(
        self, const char *key, size_t length, unsigned char *value, size_t *value_length,
        uint64_t *ticket, uint64_t *deadline,
    ) noexcept nogil:
        """Copy the value of a key, and what it was stored with; 0 where there is none."""
        cdef uint64_t hashed, way
        cdef uint64_t *group
        if self.words == NULL:
            return False
        hashed = fastcache_fixed_hash(key, length)
        group = self.set_of(hashed)
        for way in range(self.ways):
            if fastcache_load_relaxed(&group[G_TAGS + way]) == hashed | 1 and self.read(
                self.slot_of(group, way), key, length, value, value_length, ticket, deadline
            ):
                fastcache_add_relaxed(&self.words[H_HITS], 1)
                return True
        fastcache_add_relaxed(&self.words[H_MISSES], 1)
        return False

    cdef bint read(
        self, uint64_t *slot, const char *key, size_t length, unsigned char *value,
        size_t *value_length, uint64_t *ticket, uint64_t *deadline,
    ) noexcept nogil:
        """The same of one slot."""
        cdef uint64_t count, meta
        cdef size_t key_words = fastcache_words_for(length), size
        cdef int look
        for look in range(LOOKS):
            if look > 0:
                fastcache_add_relaxed(&self.words[H_RETRIES], 1)
            count = fastcache_load(&slot[S_COUNT])
            if count & 1:
                continue
            meta = fastcache_load(&slot[S_META])
            size = meta & 0xFFFF
            ticket[0] = fastcache_load(&slot[S_TICKET])
            deadline[0] = fastcache_load(&slot[S_DEADLINE])
            if (
                meta >> 16 & 0xFFFF == length
                and S_BYTES + key_words + fastcache_words_for(size) <= self.slot_words
                and fastcache_words_are(&slot[S_BYTES], key, length)
            ):
                fastcache_words_take(&slot[S_BYTES + key_words], value, size)
                if fastcache_load_relaxed(&slot[S_COUNT]) == count:
                    value_length[0] = size
                    return self.is_live(meta, deadline[0], fastcache_monotonic_ns())
            elif fastcache_load_relaxed(&slot[S_COUNT]) == count:
                # Another key with this one's tag.
                return False
        return False

    def get(self, key):
        """SharedEntry(value, ticket, deadline) of a key, or None."""
        cdef size_t length = 0, size = 0
        cdef const char *text = text_of(key, &length, "key")
        cdef uint64_t ticket = 0, deadline = 0
        cdef unsigned char small[ON_STACK]
        cdef unsigned char *value = small
        if self.slot_words * WORD > ON_STACK:
            value = <unsigned char *>PyMem_Malloc(self.slot_words * WORD)
            if value == NULL:
                raise MemoryError
        try:
            if not self.fetch(text, length, value, &size, &ticket, &deadline):
                return None
            made = PyBytes_FromStringAndSize(<char *>value, <Py_ssize_t>size)
            # As SharedEntry(...), without the call of a Python function.
            return _new_tuple(SharedEntry, (made, ticket, deadline))
        finally:
            if value != small:
                PyMem_Free(value)

    # -------------------------------------------------------------- writing

    cdef bint store(
        self, const char *key, size_t length, const unsigned char *value, size_t value_length,
        uint64_t ticket, uint64_t deadline,
    ) noexcept nogil:
        """Keep a value in place of what the key had, or of the set's most dispensable one."""
        cdef size_t key_words = fastcache_words_for(length)
        cdef uint64_t hashed, epoch
        cdef uint64_t *group
        cdef uint64_t *slot
        cdef int taken
        if self.words == NULL:
            return False
        # Each by itself first: no sum of these can overflow.
        if (
            length > 0xFFFF
            or value_length > 0xFFFF
            or S_BYTES + key_words + fastcache_words_for(value_length) > self.slot_words
        ):
            fastcache_add_relaxed(&self.words[H_OVERSIZED], 1)
            return False
        hashed = fastcache_fixed_hash(key, length)
        group = self.set_of(hashed)
        taken = fastcache_robust_try(&group[G_LOCK])
        if taken == BUSY:
            fastcache_add_relaxed(&self.words[H_BUSY], 1)
            return False
        if taken == ORPHANED:
            self.empty(group)
            fastcache_robust_mend(&group[G_LOCK])
            fastcache_add_relaxed(&self.words[H_RECOVERED], 1)
        slot = self.place_for(group, hashed | 1, key, length)
        epoch = fastcache_load_relaxed(&self.words[H_EPOCH]) & 0xFFFFFFFFU
        fastcache_seq_begin(&slot[S_COUNT])
        fastcache_store(&slot[S_META], epoch << 32 | length << 16 | value_length)
        fastcache_store(&slot[S_TICKET], ticket)
        fastcache_store(&slot[S_DEADLINE], deadline)
        fastcache_words_put(&slot[S_BYTES], key, length)
        fastcache_words_put(&slot[S_BYTES + key_words], value, value_length)
        fastcache_seq_end(&slot[S_COUNT])
        fastcache_robust_unlock(&group[G_LOCK])
        fastcache_add_relaxed(&self.words[H_PUTS], 1)
        return True

    cdef uint64_t *place_for(
        self, uint64_t *group, uint64_t tag, const char *key, size_t length
    ) noexcept nogil:
        """The slot that a key goes to, tagged for it; by the owner of the set's lock.

        That which has the key; else one that is empty or has expired; else the one that
        expires first. Of those that expire at once, each is the first in turn.
        """
        cdef uint64_t now = fastcache_monotonic_ns()
        cdef uint64_t hand = fastcache_load_relaxed(&group[G_HAND]) % self.ways
        cdef uint64_t best = hand, soonest = 0, step, way, meta, deadline
        cdef bint chosen = False, live, evicts = False
        cdef uint64_t *slot
        for step in range(self.ways):
            way = (hand + step) % self.ways
            slot = self.slot_of(group, way)
            meta = fastcache_load_relaxed(&slot[S_META])
            if (
                fastcache_load_relaxed(&group[G_TAGS + way]) == tag
                and meta >> 16 & 0xFFFF == length
                and fastcache_words_are(&slot[S_BYTES], key, length)
            ):
                return slot
            deadline = fastcache_load_relaxed(&slot[S_DEADLINE])
            live = self.is_live(meta, deadline, now)
            if not live:
                # Sooner than any that is live.
                deadline = 0
            if not chosen or deadline < soonest:
                chosen = True
                best = way
                soonest = deadline
                evicts = live
        if evicts:
            fastcache_add_relaxed(&self.words[H_EVICTIONS], 1)
            fastcache_store(&group[G_HAND], (best + 1) % self.ways)
        slot = self.slot_of(group, best)
        # A reader of either key meets the other's in the slot, and misses.
        fastcache_store(&group[G_TAGS + best], tag)
        return slot

    cdef void empty(self, uint64_t *group) noexcept nogil:
        """Forget a whole set, in whatever state it is; by the owner of its lock."""
        cdef uint64_t way
        cdef uint64_t *slot
        for way in range(self.ways):
            slot = self.slot_of(group, way)
            fastcache_seq_begin(&slot[S_COUNT])
            fastcache_store(&slot[S_META], 0)
            fastcache_store(&slot[S_DEADLINE], 0)
            fastcache_seq_end(&slot[S_COUNT])
            fastcache_store(&group[G_TAGS + way], 0)

    def put(self, key, value, *, ticket, deadline):
        """Keep `value`; False where it is too large, or its set is being written to.

        `ticket` and `deadline` are numbers from 0 to 2**64 - 1.
        """
        cdef size_t length = 0
        cdef const char *text = text_of(key, &length, "key")
        if not PyBytes_Check(value):
            raise TypeError(f"value must be bytes, not {type(value).__name__}")
        return self.store(
            text,
            length,
            <const unsigned char *>PyBytes_AS_STRING(value),
            <size_t>PyBytes_GET_SIZE(value),
            word_from(ticket, "ticket"),
            word_from(deadline, "deadline"),
        )

    def clear(self):
        """Forget everything, by one increment: it waits for nobody."""
        if self.words != NULL:
            fastcache_fetch_add(&self.words[H_EPOCH], 1)

    # -------------------------------------------------------------- statistics

    def stats(self):
        """SharedCacheStats: what all processes did since `format`, and what it holds."""
        cdef uint64_t entries = 0, now = fastcache_monotonic_ns(), set_number, way
        cdef uint64_t *slot
        cdef uint64_t *words = self.words
        if words == NULL:
            return SharedCacheStats(*(0,) * 10)
        with nogil:
            for set_number in range(self.sets):
                for way in range(self.ways):
                    slot = self.slot_of(&words[HEADER + set_number * self.set_words], way)
                    entries += self.is_live(
                        fastcache_load_relaxed(&slot[S_META]),
                        fastcache_load_relaxed(&slot[S_DEADLINE]),
                        now,
                    )
        return SharedCacheStats(
            hits=fastcache_load(&words[H_HITS]),
            misses=fastcache_load(&words[H_MISSES]),
            retries=fastcache_load(&words[H_RETRIES]),
            puts=fastcache_load(&words[H_PUTS]),
            oversized=fastcache_load(&words[H_OVERSIZED]),
            busy=fastcache_load(&words[H_BUSY]),
            evictions=fastcache_load(&words[H_EVICTIONS]),
            recovered=fastcache_load(&words[H_RECOVERED]),
            entries=entries,
            capacity=self.capacity,
        )
