# cython: always_allow_keywords=False, cdivision=True
"""SharedCache: a set-associative table of bytes that all processes of a machine share.

The hash of a key selects a set. A tag for each slot of the set shows whether the key may be there,
and the slot stores the complete key. Readers take no lock: they read the words of a slot as
described in _seqlock.h, and use them only if they were not being changed.

A process may die or stop at any instruction. If a writer dies, the lock of its set is orphaned, and
the next writer empties the set; a damaged lock is handled in the same way. While a writer is
stopped, other processes cannot write to its set, and reads of the slot that it was changing are
misses. Lengths in the memory are checked before they are used, so that no content of the memory
leads outside of it.
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

from fastcache.shared._words cimport Words, text_of, word_from
from fastcache.shared._table cimport (
    G_HAND,
    G_LOCK,
    G_TAGS,
    H_BUSY,
    H_EPOCH,
    H_EVICTIONS,
    H_HITS,
    H_MISSES,
    H_OVERSIZED,
    H_PUTS,
    H_RECOVERED,
    H_RETRIES,
    S_BYTES,
    S_COUNT,
    S_DEADLINE,
    S_META,
    S_TICKET,
    WORD,
    SharedTable,
    area_of,
    checked,
    lay_out,
)

from fastcache.shared.entry import SharedCacheStats, SharedEntry

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
    const int ORPHANED "FASTCACHE_ORPHANED"
    const int BUSY "FASTCACHE_BUSY"
    ctypedef struct Hold "fastcache_hold":
        pass
    void fastcache_robust_start() noexcept nogil
    int fastcache_robust_try(Hold *hold, uint64_t *word) noexcept nogil
    void fastcache_robust_unlock(Hold *hold) noexcept nogil


fastcache_robust_start()


cdef enum:
    READS = 8           # attempts to read a changing slot, before it counts as a miss
    ON_STACK = 1024


@cython.final
@cython.auto_pickle(False)
@cython.no_gc_clear
cdef class SharedCache(SharedTable):
    """A bounded table of `bytes` to `bytes` that may lose any entry at any time.

    `memory` must have been formatted by `format` once, before other processes use it. Without
    `memory`, the cache has private memory of `size` bytes, formatted as by `format`.

    Each value is stored with a ticket, which the caller compares, and a deadline: a time of
    time.monotonic_ns after which it is never returned. A str stands for its UTF-8 bytes.
    """

    def __init__(self, memory=None, *, slot_size=None, ways=None, size=None):
        cdef Words area
        if memory is None:
            area = Words.__new__(Words)
            area.map(checked(1 << 20 if size is None else size, "size", 0, 1 << 48) // WORD, None)
            lay_out(area, slot_size, ways)
        else:
            if slot_size is not None or ways is not None or size is not None:
                raise TypeError("memory already has the geometry that format() gave it")
            area = area_of(memory)
        with cython.critical_section(self):
            if self.words != NULL:
                raise RuntimeError("SharedCache is already initialised")
            self.open(area)

    @staticmethod
    def format(memory, *, slot_size=None, ways=None):
        """Make an empty cache in memory that no process uses.

        `slot_size` is the number of bytes of a slot, a multiple of 8, by default 256: 32 for the
        slot itself, and the rest for the key and the value. `ways` is the number of slots of a set,
        by default 8: how many keys with colliding hashes can be stored at the same time.
        """
        lay_out(area_of(memory), slot_size, ways)

    # -------------------------------------------------------------- reading

    cdef bint fetch(
        self, const char *key, size_t length, unsigned char *value, size_t *value_length,
        uint64_t *ticket, uint64_t *deadline,
    ) noexcept nogil:
        """Copy the value of a key with its ticket and deadline; returns 0 for a miss."""
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
        """The same for one slot."""
        cdef uint64_t count, meta
        cdef size_t key_words = fastcache_words_for(length), size
        cdef int attempt
        for attempt in range(READS):
            if attempt > 0:
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
                # Another key with the same tag.
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
            # The same as SharedEntry(...), without calling a Python function.
            return _new_tuple(SharedEntry, (made, ticket, deadline))
        finally:
            if value != small:
                PyMem_Free(value)

    # -------------------------------------------------------------- writing

    cdef bint store(
        self, const char *key, size_t length, const unsigned char *value, size_t value_length,
        uint64_t ticket, uint64_t deadline,
    ) noexcept nogil:
        """Store a value in place of the key's previous one, or of the one that the set evicts."""
        cdef size_t key_words = fastcache_words_for(length)
        cdef uint64_t hashed, epoch
        cdef uint64_t *group
        cdef uint64_t *slot
        cdef Hold hold
        cdef int taken
        if self.words == NULL:
            return False
        # Each is checked separately first: their sum could overflow.
        if (
            length > 0xFFFF
            or value_length > 0xFFFF
            or S_BYTES + key_words + fastcache_words_for(value_length) > self.slot_words
        ):
            fastcache_add_relaxed(&self.words[H_OVERSIZED], 1)
            return False
        hashed = fastcache_fixed_hash(key, length)
        group = self.set_of(hashed)
        taken = fastcache_robust_try(&hold, &group[G_LOCK])
        if taken == BUSY:
            fastcache_add_relaxed(&self.words[H_BUSY], 1)
            return False
        if taken == ORPHANED:
            self.empty(group)
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
        fastcache_robust_unlock(&hold)
        fastcache_add_relaxed(&self.words[H_PUTS], 1)
        return True

    cdef uint64_t *place_for(
        self, uint64_t *group, uint64_t tag, const char *key, size_t length
    ) noexcept nogil:
        """The slot for a key, with its tag set; the caller holds the lock of the set.

        The slot with this key; otherwise an empty or expired one; otherwise the one that expires
        first. If several expire at the same time, they are chosen in turn.
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
                # Preferred to every live slot.
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
        # A reader of either key finds the other one in the slot, which is a miss.
        fastcache_store(&group[G_TAGS + best], tag)
        return slot

    cdef void empty(self, uint64_t *group) noexcept nogil:
        """Empty a whole set, which may be in any state; the caller holds its lock."""
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
        """Store `value`; False if it is too large, or another process is writing to its set.

        `ticket` and `deadline` are integers from 0 to 2**64 - 1.
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
        """Remove all entries by one atomic increment; it never waits."""
        if self.words != NULL:
            fastcache_fetch_add(&self.words[H_EPOCH], 1)

    # -------------------------------------------------------------- statistics

    def stats(self):
        """SharedCacheStats: counts of all processes since `format`, and the current content."""
        cdef uint64_t *words = self.words
        cdef uint64_t now = fastcache_monotonic_ns(), entries
        if words == NULL:
            return SharedCacheStats(*(0,) * 10)
        with nogil:
            entries = self.live_slots(now)
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
