# cython: always_allow_keywords=False, cdivision=True
"""SharedCache: a set-associative table of bytes that all processes of a machine share.

A key belongs to one set by its hash; a tag says in which of the set's slots it may be, and
the slot has the whole key. Readers take no lock: a slot's words are read as _seqlock.h
says, and are only ever believed when they were not being changed.

A process may die or stop at any instruction. A writer that died leaves its set's lock
orphaned, and the next writer empties the set; a damaged lock is treated in the same way. A
writer that is stopped keeps others from writing to its set, and readers of the slot in hand
miss. What the memory says about lengths is checked before it is used, so that no content of
it leads outside.
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
    LOOKS = 8           # at a slot that changes, before it counts as a miss
    ON_STACK = 1024


@cython.final
@cython.auto_pickle(False)
@cython.no_gc_clear
cdef class SharedCache(SharedTable):
    """A bounded table of `bytes` to `bytes` that may lose anything at any time.

    `memory` has been formatted by `format`, once, before others got to see it; without it,
    the cache has private memory of `size` bytes, with slots as `format` makes them.

    Each value is kept with a ticket, which the caller compares, and a deadline, an instant
    of time.monotonic_ns after which it is never returned. A str counts as its UTF-8 bytes.
    """

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
        cdef Hold hold
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
