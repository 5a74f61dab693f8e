/* Sizes as fixed-point numbers of 256 bits, half of them behind the point.
 *
 * Sums and differences of them are exact, in any order and of any mixture of whole numbers and
 * fractions. Each is less than 2**127, so that no sum of two overflows.
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

/* `left` is not less than `right`. */
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

/* Out of line: most caches keep no sizes, and their way is to stay short. */
#define FASTCACHE_APART static __attribute__((noinline, unused))

FASTCACHE_APART void fastcache_size_add(fastcache_size *total, const fastcache_size *size)
{
    *total = fastcache_size_plus(*total, *size);
}

FASTCACHE_APART void fastcache_size_take(fastcache_size *total, const fastcache_size *size)
{
    *total = fastcache_size_minus(*total, *size);
}

/* Whether `total`, with `size` in place of `before` where there is one, exceeds a capacity. */
FASTCACHE_APART int fastcache_size_lacks(const fastcache_size *total, const fastcache_size *before,
                                         const fastcache_size *size,
                                         const fastcache_size *capacity)
{
    fastcache_size left = before == 0 ? *total : fastcache_size_minus(*total, *before);
    return fastcache_size_exceeds(fastcache_size_plus(left, *size), *capacity);
}

/* To compare by proportion. */
static inline double fastcache_size_roughly(fastcache_size size)
{
    double sum = 0.0;
    for (int i = 0; i < FASTCACHE_SIZE_WORDS; i++) {
        sum = sum / 0x1p64 + (double)size.words[i];
    }
    return sum * 0x1p64;
}

#endif
