/* Sizes as unsigned fixed-point numbers: 128 bits of integer, 128 bits of fraction.
 *
 * Sums and differences are exact, in any order and for any mixture of integers and fractions.
 * Only numbers less than 2**127 are added, so a sum does not overflow. The number 2**127 itself
 * stands for a size that no shard holds.
 */
#ifndef FASTCACHE_SIZES_H
#define FASTCACHE_SIZES_H

#include <stdint.h>

#define FASTCACHE_SIZE_WORDS 4

typedef struct {
    uint64_t words[FASTCACHE_SIZE_WORDS]; /* the least significant first */
} fastcache_size;

static inline fastcache_size fastcache_size_of(uint64_t whole)
{
    fastcache_size size = {{0, 0, whole, 0}};
    return size;
}

static inline fastcache_size fastcache_size_plus(fastcache_size left, fastcache_size right)
{
    uint64_t carry = 0;
    for (int i = 0; i < FASTCACHE_SIZE_WORDS; i++) {
        uint64_t sum = left.words[i] + carry;
        carry = sum < carry;
        sum += right.words[i];
        carry += sum < right.words[i];
        left.words[i] = sum;
    }
    return left;
}

/* `left` must not be less than `right`. */
static inline fastcache_size fastcache_size_minus(fastcache_size left, fastcache_size right)
{
    uint64_t borrow = 0;
    for (int i = 0; i < FASTCACHE_SIZE_WORDS; i++) {
        uint64_t part = left.words[i] - right.words[i];
        uint64_t next = left.words[i] < right.words[i];
        next += part < borrow;
        left.words[i] = part - borrow;
        borrow = next;
    }
    return left;
}

static inline int fastcache_size_exceeds(fastcache_size left, fastcache_size right)
{
    for (int i = FASTCACHE_SIZE_WORDS - 1; i > 0; i--) {
        if (left.words[i] != right.words[i]) {
            return left.words[i] > right.words[i];
        }
    }
    return left.words[0] > right.words[0];
}

/* Not inlined: most caches keep no sizes, and their code path must stay short. */
#define FASTCACHE_APART static __attribute__((noinline, unused))

FASTCACHE_APART void fastcache_size_add(fastcache_size *total, const fastcache_size *size)
{
    *total = fastcache_size_plus(*total, *size);
}

FASTCACHE_APART void fastcache_size_take(fastcache_size *total, const fastcache_size *size)
{
    *total = fastcache_size_minus(*total, *size);
}

/* Whether `total` would exceed `capacity` with `size` in place of `before`, NULL for none. */
FASTCACHE_APART int fastcache_size_lacks(const fastcache_size *total, const fastcache_size *before,
                                         const fastcache_size *size,
                                         const fastcache_size *capacity)
{
    fastcache_size left = before == 0 ? *total : fastcache_size_minus(*total, *before);
    return fastcache_size_exceeds(fastcache_size_plus(left, *size), *capacity);
}

/* Rounded, to compare how full shards are. */
static inline double fastcache_size_roughly(fastcache_size size)
{
    double sum = 0.0;
    for (int i = 0; i < FASTCACHE_SIZE_WORDS; i++) {
        sum = sum / 0x1p64 + (double)size.words[i];
    }
    return sum * 0x1p64;
}

#endif
