/* SHA-256 (FIPS 180-4) with the SHA instructions of x86-64 processors, with the key block hashed
 * once for all messages.
 *
 * The instructions keep the eight chaining values in two registers, as a b e f and c d g h with
 * `a` and `c` in the highest lane, and do two rounds at a time. The rounds are a loop and not
 * unrolled: in code that runs between other code, fetching instructions takes longer than the
 * arithmetic.
 */
#ifndef FASTCACHE_SHA256_X86_H
#define FASTCACHE_SHA256_X86_H

#include <cpuid.h>
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FASTCACHE_SHA256_BLOCK 64
#define FASTCACHE_SHA256_LENGTH 8 /* bytes of the message length in the padding */

/* The key, as the chaining values after its block. */
typedef struct {
    uint32_t after_key[8];
} fastcache_sha256_key;

static const uint32_t fastcache_sha256_start[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint32_t fastcache_sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* Whether this processor has the instructions: CPUID, leaf 7, EBX bit 29; and in leaf 1, the
 * other extensions that are used. */
static int fastcache_has_sha256 = 0;

__attribute__((constructor)) static void fastcache_find_sha256(void)
{
    unsigned eax, ebx, ecx, edx;
    fastcache_has_sha256 = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_SSSE3) &&
                        (ecx & bit_SSE4_1) &&
                        __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & bit_SHA);
}

/* Four rounds, with four message words to which their constants are already added. */
#define FASTCACHE_SHA256_ROUNDS(words, constants)                                          \
    do {                                                                                 \
        const __m128i sum = _mm_add_epi32(words, _mm_loadu_si128(constants));            \
        low = _mm_sha256rnds2_epu32(low, high, sum);                                     \
        high = _mm_sha256rnds2_epu32(high, low, _mm_shuffle_epi32(sum, 0x0e));           \
    } while (0)

/* Computes four words of the message schedule from the previous sixteen, in place. */
#define FASTCACHE_SHA256_WORDS(first, second, third, fourth)                               \
    (first) = _mm_sha256msg2_epu32(                                                      \
        _mm_add_epi32(_mm_sha256msg1_epu32(first, second), _mm_alignr_epi8(fourth, third, 4)), \
        fourth)

/* Adds blocks of 64 bytes to the chaining values; requires fastcache_has_sha256. */
__attribute__((target("sha,sse4.1,ssse3"), noinline, unused)) static void
fastcache_sha256_compress(uint32_t chain[8], const unsigned char *data, size_t blocks)
{
    const __m128i big_endian =
        _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    __m128i *halves = (__m128i *)(void *)chain;
    const __m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128(halves), 0xb1);     /* c d a b */
    const __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(halves + 1), 0x1b); /* e f g h */
    __m128i high = _mm_alignr_epi8(abcd, efgh, 8);
    __m128i low = _mm_blend_epi16(efgh, abcd, 0xf0);
    for (; blocks > 0; blocks--, data += FASTCACHE_SHA256_BLOCK) {
        const __m128i *block = (const __m128i *)(const void *)data;
        const __m128i *constants = (const __m128i *)(const void *)fastcache_sha256_constants;
        const __m128i high_before = high, low_before = low;
        __m128i w = _mm_shuffle_epi8(_mm_loadu_si128(block), big_endian);
        __m128i x = _mm_shuffle_epi8(_mm_loadu_si128(block + 1), big_endian);
        __m128i y = _mm_shuffle_epi8(_mm_loadu_si128(block + 2), big_endian);
        __m128i z = _mm_shuffle_epi8(_mm_loadu_si128(block + 3), big_endian);
#if defined(__clang__)
#pragma clang loop unroll(disable)
#else
#pragma GCC unroll 1
#endif
        for (int step = 0; step < 3; step++, constants += 4) {
            FASTCACHE_SHA256_ROUNDS(w, constants);
            FASTCACHE_SHA256_WORDS(w, x, y, z);
            FASTCACHE_SHA256_ROUNDS(x, constants + 1);
            FASTCACHE_SHA256_WORDS(x, y, z, w);
            FASTCACHE_SHA256_ROUNDS(y, constants + 2);
            FASTCACHE_SHA256_WORDS(y, z, w, x);
            FASTCACHE_SHA256_ROUNDS(z, constants + 3);
            FASTCACHE_SHA256_WORDS(z, w, x, y);
        }
        FASTCACHE_SHA256_ROUNDS(w, constants);
        FASTCACHE_SHA256_ROUNDS(x, constants + 1);
        FASTCACHE_SHA256_ROUNDS(y, constants + 2);
        FASTCACHE_SHA256_ROUNDS(z, constants + 3);
        high = _mm_add_epi32(high, high_before);
        low = _mm_add_epi32(low, low_before);
    }
    const __m128i feba = _mm_shuffle_epi32(high, 0x1b);
    const __m128i dchg = _mm_shuffle_epi32(low, 0xb1);
    _mm_storeu_si128(halves, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128(halves + 1, _mm_alignr_epi8(dchg, feba, 8));
}

/* `length` of the key is 1 to 64. */
static inline void fastcache_sha256_init(fastcache_sha256_key *key, const unsigned char *bytes,
                                         size_t length)
{
    unsigned char block[FASTCACHE_SHA256_BLOCK] = {0};
    memcpy(block, bytes, length);
    memcpy(key->after_key, fastcache_sha256_start, sizeof key->after_key);
    fastcache_sha256_compress(key->after_key, block, 1);
}

static inline void fastcache_sha256_store(unsigned char *bytes, uint32_t word)
{
    const uint32_t big_endian = __builtin_bswap32(word);
    memcpy(bytes, &big_endian, sizeof big_endian);
}

/* Writes the first `size` bytes of the digest of a message to `out`: a multiple of 4 up to 32.
 * Messages of 2**61 bytes and more cannot occur. */
static inline void fastcache_sha256(const fastcache_sha256_key *key, const unsigned char *data,
                                    size_t length, unsigned char *out, size_t size)
{
    uint32_t chain[8];
    unsigned char end[2 * FASTCACHE_SHA256_BLOCK]; /* the rest of the message and the padding */
    const size_t whole = length / FASTCACHE_SHA256_BLOCK;
    const size_t left = length % FASTCACHE_SHA256_BLOCK;
    const size_t blocks = left + 1 + FASTCACHE_SHA256_LENGTH <= FASTCACHE_SHA256_BLOCK ? 1 : 2;
    const uint64_t bits = (FASTCACHE_SHA256_BLOCK + (uint64_t)length) * 8;
    unsigned char *count = end + blocks * FASTCACHE_SHA256_BLOCK - FASTCACHE_SHA256_LENGTH;
    memcpy(chain, key->after_key, sizeof chain);
    if (whole > 0) {
        fastcache_sha256_compress(chain, data, whole);
    }
    memset(end, 0, blocks * FASTCACHE_SHA256_BLOCK);
    memcpy(end, data + length - left, left);
    end[left] = 0x80;
    fastcache_sha256_store(count, (uint32_t)(bits >> 32));
    fastcache_sha256_store(count + 4, (uint32_t)bits);
    fastcache_sha256_compress(chain, end, blocks);
    for (size_t i = 0; i < size / 4; i++) {
        fastcache_sha256_store(out + 4 * i, chain[i]);
    }
}

#endif
