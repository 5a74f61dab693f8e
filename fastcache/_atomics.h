/* Atomic operations on 64-bit words that threads and processes share.
 *
 * Two orderings are all that is used:
 *
 * - fastcache_fetch_add is sequentially consistent. An invalidation is one such increment:
 *   whatever the invalidator did before it (a database commit) is visible to whoever sees
 *   the new generation, and all threads agree on one order of all increments. It is one
 *   instruction, so it never waits and cannot be left half done by a process that dies.
 *
 * - fastcache_load is an acquire. Nothing that follows it in program order (reading the
 *   database under the generation just loaded as a ticket) can move before it. It pairs
 *   with the increment; readers need no more, since they only ever compare for equality.
 *
 * Words are plain uint64_t in private or shared memory, 8-byte aligned, and are only
 * touched through these functions.
 */
#ifndef FASTCACHE_ATOMICS_H
#define FASTCACHE_ATOMICS_H

#include <stdatomic.h>
#include <stdint.h>

_Static_assert(sizeof(_Atomic uint64_t) == sizeof(uint64_t), "atomic words must be plain words");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "a lock would not work across processes");

static inline uint64_t fastcache_load(uint64_t *word)
{
    return atomic_load_explicit((_Atomic uint64_t *)word, memory_order_acquire);
}

/* Returns the value before the addition; wraps at 2**64. */
static inline uint64_t fastcache_fetch_add(uint64_t *word, uint64_t amount)
{
    return atomic_fetch_add_explicit((_Atomic uint64_t *)word, amount, memory_order_seq_cst);
}

#endif
