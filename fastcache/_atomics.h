/* Atomic operations on 64-bit words that threads and processes share.
 *
 * Three orderings are all that is used; a name without one has the strongest that its
 * users need:
 *
 * - fastcache_fetch_add and fastcache_compare_exchange are sequentially consistent. An
 *   invalidation is one such increment: whatever the invalidator did before it (a database
 *   commit) is visible to whoever sees the new generation, and all threads agree on one
 *   order of all increments. Each is one instruction, so it never waits and cannot be left
 *   half done by a process that dies.
 *
 * - fastcache_load is an acquire, fastcache_store a release. Nothing that follows the load
 *   in program order (reading the database under the generation just loaded as a ticket)
 *   can move before it; nothing that precedes the store can move after it. A load that
 *   sees what a store wrote sees everything that was written before that store. Readers
 *   of a generation need no more, since they only ever compare for equality.
 *
 * - fastcache_load_relaxed, fastcache_store_relaxed, fastcache_add_relaxed and
 *   fastcache_add_alone are atomic and no more: for statistics, which nothing is concluded
 *   from, and for words whose order is settled by others beside them.
 *
 * Words are plain uint64_t in private or shared memory, 8-byte aligned, and are only
 * touched through these functions.
 */
#ifndef FASTCACHE_ATOMICS_H
#define FASTCACHE_ATOMICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "_gil.h"

_Static_assert(sizeof(_Atomic uint64_t) == sizeof(uint64_t), "atomic words must be plain words");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "a lock would not work across processes");

static inline uint64_t fastcache_load(uint64_t *word)
{
    return atomic_load_explicit((_Atomic uint64_t *)word, memory_order_acquire);
}

static inline uint64_t fastcache_load_relaxed(uint64_t *word)
{
    return atomic_load_explicit((_Atomic uint64_t *)word, memory_order_relaxed);
}

static inline void fastcache_store(uint64_t *word, uint64_t value)
{
    atomic_store_explicit((_Atomic uint64_t *)word, value, memory_order_release);
}

static inline void fastcache_store_relaxed(uint64_t *word, uint64_t value)
{
    atomic_store_explicit((_Atomic uint64_t *)word, value, memory_order_relaxed);
}

/* Returns the value before the addition; wraps at 2**64. */
static inline uint64_t fastcache_fetch_add(uint64_t *word, uint64_t amount)
{
    return atomic_fetch_add_explicit((_Atomic uint64_t *)word, amount, memory_order_seq_cst);
}

static inline void fastcache_add_relaxed(uint64_t *word, uint64_t amount)
{
    (void)atomic_fetch_add_explicit((_Atomic uint64_t *)word, amount, memory_order_relaxed);
}

/* For a word that one process adds to, always with the GIL held, so that nothing comes in
 * between. Without a GIL, as fastcache_add_relaxed. */
static inline void fastcache_add_alone(uint64_t *word, uint64_t amount)
{
#if FASTCACHE_GIL
    fastcache_store_relaxed(word, fastcache_load_relaxed(word) + amount);
#else
    fastcache_add_relaxed(word, amount);
#endif
}

/* As strong: whoever sees the bits sees what was written before them. */
static inline void fastcache_set_bits(uint64_t *word, uint64_t bits)
{
    (void)atomic_fetch_or_explicit((_Atomic uint64_t *)word, bits, memory_order_seq_cst);
}

/* 1: the word was `expected` and is now `desired`. 0: it was not, and is unchanged. */
static inline int fastcache_compare_exchange(uint64_t *word, uint64_t expected, uint64_t desired)
{
    return atomic_compare_exchange_strong_explicit(
        (_Atomic uint64_t *)word, &expected, desired,
        memory_order_seq_cst, memory_order_acquire);
}

/* Makes the word `value` where it is less. 1: it was less. Only as many tries as others
 * raise it meanwhile. */
static inline int fastcache_raise_to(uint64_t *word, uint64_t value)
{
    uint64_t seen = fastcache_load(word);
    while (seen < value) {
        if (fastcache_compare_exchange(word, seen, value)) {
            return 1;
        }
        seen = fastcache_load(word);
    }
    return 0;
}

#endif
