/* BLAKE2b's compression function for x86-64 processors with AVX2, which are asked for it.
 *
 * The four columns of the state lie side by side in one register for each of its rows. The
 * rounds are a loop: what is called once in a while, between other code, waits longer for
 * its instructions than for its arithmetic, and these are few.
 */
#ifndef FASTCACHE_BLAKE2B_AVX2_H
#define FASTCACHE_BLAKE2B_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

/* Whether this processor has AVX2, and its system keeps the registers. */
static int fastcache_has_avx2 = 0;

__attribute__((constructor)) static void fastcache_find_avx2(void)
{
    __builtin_cpu_init();
    fastcache_has_avx2 = __builtin_cpu_supports("avx2") != 0;
}

/* The message words of each round, in the order in which they are added: the first words of
 * the four columns, their second ones, then those of the diagonals. Those begin with the
 * last, since the second row stays where it is and the others are turned. */
#define FASTCACHE_LANES(i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, ia, ib, ic, id, ie, i_) \
    {i0, i2, i4, i6, i1, i3, i5, i7, ie, i8, ia, ic, i_, i9, ib, id}

static const unsigned char fastcache_blake2b_lanes[12][16] = {
    FASTCACHE_LANES(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    FASTCACHE_LANES(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    FASTCACHE_LANES(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    FASTCACHE_LANES(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    FASTCACHE_LANES(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    FASTCACHE_LANES(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    FASTCACHE_LANES(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    FASTCACHE_LANES(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    FASTCACHE_LANES(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    FASTCACHE_LANES(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
    FASTCACHE_LANES(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    FASTCACHE_LANES(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
};

#define FASTCACHE_ADD(left, right) _mm256_add_epi64(left, right)
#define FASTCACHE_XOR(left, right) _mm256_xor_si256(left, right)
#define FASTCACHE_WORDS(first)                                           \
    _mm256_set_epi64x((long long)m[lanes[(first) + 3]],                  \
                      (long long)m[lanes[(first) + 2]],                  \
                      (long long)m[lanes[(first) + 1]], (long long)m[lanes[first]])

/* All four columns at once, with four words of the message and four more. */
#define FASTCACHE_MIX_ALL(x, y)                                               \
    do {                                                                      \
        a = FASTCACHE_ADD(FASTCACHE_ADD(a, x), b);                            \
        d = _mm256_shuffle_epi32(FASTCACHE_XOR(d, a), 0xB1);                  \
        c = FASTCACHE_ADD(c, d);                                              \
        b = _mm256_shuffle_epi8(FASTCACHE_XOR(b, c), by24);                   \
        a = FASTCACHE_ADD(FASTCACHE_ADD(a, y), b);                            \
        d = _mm256_shuffle_epi8(FASTCACHE_XOR(d, a), by16);                   \
        c = FASTCACHE_ADD(c, d);                                              \
        b = FASTCACHE_XOR(b, c);                                              \
        b = _mm256_or_si256(_mm256_srli_epi64(b, 63), FASTCACHE_ADD(b, b));   \
    } while (0)

/* As fastcache_blake2b_compress; only where fastcache_has_avx2. */
__attribute__((target("avx2"), noinline, unused)) static void
fastcache_blake2b_compress_avx2(uint64_t chain[8], const uint64_t start[8],
                                const unsigned char *block, uint64_t total, int last)
{
    const __m256i by24 = _mm256_setr_epi8(3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10,
                                          3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10);
    const __m256i by16 = _mm256_setr_epi8(2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9,
                                          2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9);
    __m256i *halves = (__m256i *)(void *)chain;
    const __m256i before = _mm256_loadu_si256(halves);
    const __m256i after = _mm256_loadu_si256(halves + 1);
    const __m256i *starts = (const __m256i *)(const void *)start;
    __m256i a = before, b = after, c = _mm256_loadu_si256(starts);
    __m256i d = FASTCACHE_XOR(_mm256_loadu_si256(starts + 1),
                              _mm256_set_epi64x(0, last ? -1 : 0, 0, (long long)total));
    uint64_t m[16];
    memcpy(m, block, sizeof m);
#if defined(__clang__)
#pragma clang loop unroll(disable)
#else
#pragma GCC unroll 1
#endif
    for (int round = 0; round < 12; round++) {
        const unsigned char *lanes = fastcache_blake2b_lanes[round];
        FASTCACHE_MIX_ALL(FASTCACHE_WORDS(0), FASTCACHE_WORDS(4));
        a = _mm256_permute4x64_epi64(a, _MM_SHUFFLE(2, 1, 0, 3));
        c = _mm256_permute4x64_epi64(c, _MM_SHUFFLE(0, 3, 2, 1));
        d = _mm256_permute4x64_epi64(d, _MM_SHUFFLE(1, 0, 3, 2));
        FASTCACHE_MIX_ALL(FASTCACHE_WORDS(8), FASTCACHE_WORDS(12));
        a = _mm256_permute4x64_epi64(a, _MM_SHUFFLE(0, 3, 2, 1));
        c = _mm256_permute4x64_epi64(c, _MM_SHUFFLE(2, 1, 0, 3));
        d = _mm256_permute4x64_epi64(d, _MM_SHUFFLE(1, 0, 3, 2));
    }
    _mm256_storeu_si256(halves, FASTCACHE_XOR(before, FASTCACHE_XOR(a, c)));
    _mm256_storeu_si256(halves + 1, FASTCACHE_XOR(after, FASTCACHE_XOR(b, d)));
}

#endif
