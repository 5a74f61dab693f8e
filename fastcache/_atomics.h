/* Atomic operations on 64-bit words that threads and processes share.
 *
  * Only three orderings are used. A function without an ordering in its name has the
  * strongest one that its callers need:
  *
  * - fastcache_fetch_add and fastcache_compare_exchange are sequentially consistent. An
  *   invalidation is one such increment: everything that was done before it (a database
  *   commit) is visible to a thread that reads the new generation, and all threads agree on
  *   one order of all increments. Each is one instruction, so it never waits, and a process
  *   that dies cannot leave it half done.
  *
  * - fastcache_load is an acquire, fastcache_store a release. Code that follows the load in
  *   program order (such as a database read under the loaded generation) cannot move before
  *   it. Code that precedes the store cannot move after it. A load that reads a stored value
  *   sees everything that was written before the store. This is enough for readers of a
  *   generation, because they only compare for equality.
  *
  * - fastcache_load_relaxed, fastcache_store_relaxed, fastcache_add_relaxed and
  *   fastcache_add_alone are atomic without any ordering: for statistics, and for words
  *   whose order is determined by other words.
  *
  * Words are plain uint64_t in private or shared memory, 8-byte aligned, and are accessed
  * only through these functions.
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

/* For a word that only one process adds to, always with the GIL held, so that no other
 * thread interferes. Without a GIL, the same as fastcache_add_relaxed. */
static inline void fastcache_add_alone(uint64_t *word, uint64_t amount)
{
#if FASTCACHE_GIL
    fastcache_store_relaxed(word, fastcache_load_relaxed(word) + amount);
#else
    fastcache_add_relaxed(word, amount);
#endif
}

/* Release: a thread that reads the bits sees everything that was written before them. */
static inline void fastcache_set_bits(uint64_t *word, uint64_t bits)
{
    (void)atomic_fetch_or_explicit((_Atomic uint64_t *)word, bits, memory_order_seq_cst);
}

/* 1: the word was `expected` and is now `desired`. 0: it had another value, and is unchanged. */
static inline int fastcache_compare_exchange(uint64_t *word, uint64_t expected, uint64_t desired)
{
    return atomic_compare_exchange_strong_explicit(
        (_Atomic uint64_t *)word, &expected, desired,
        memory_order_seq_cst, memory_order_acquire);
}

/* Raises the word to `value`. 1: it was less. 0: it is unchanged. Retries only as often as
 * other threads raise it at the same time. */
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
