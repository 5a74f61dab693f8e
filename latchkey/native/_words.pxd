# Words of memory that threads and other processes read and write concurrently.

from libc.stdint cimport uint64_t

from latchkey.native._vector cimport expected


cdef extern from "_atomics.h":
    uint64_t load "fastcache_load"(uint64_t *word) noexcept nogil
    uint64_t load_relaxed "fastcache_load_relaxed"(uint64_t *word) noexcept nogil
    void store "fastcache_store"(uint64_t *word, uint64_t value) noexcept nogil
    void store_relaxed "fastcache_store_relaxed"(uint64_t *word, uint64_t value) noexcept nogil
    void add_relaxed "fastcache_add_relaxed"(uint64_t *word, uint64_t amount) noexcept nogil
    void add_alone "fastcache_add_alone"(uint64_t *word, uint64_t amount) noexcept


cdef inline void add(bint alone, uint64_t *word, uint64_t amount) noexcept:
    """Add to a word; `alone`: no other process and no thread without the GIL writes to it."""
    if expected(alone):
        add_alone(word, amount)
    else:
        add_relaxed(word, amount)
