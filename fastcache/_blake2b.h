/* Keyed BLAKE2b (RFC 7693), with the key block hashed once for all messages.
 *
 * The rounds are a loop and not unrolled: in code that runs between other code, fetching
 * instructions takes longer than the arithmetic.
 */
#ifndef FASTCACHE_BLAKE2B_H
#define FASTCACHE_BLAKE2B_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FASTCACHE_BLAKE2B_BLOCK 128

/* The key, as the chaining values after its block. */
typedef struct {
    uint64_t after_key[8]; /* for messages: the key block is not the last one */
    uint64_t only_key[8];  /* for the empty message: the key block is the last one */
} fastcache_blake2b_key;

static const uint64_t fastcache_blake2b_start[8] = {
    UINT64_C(0x6a09e667f3bcc908), UINT64_C(0xbb67ae8584caa73b),
    UINT64_C(0x3c6ef372fe94f82b), UINT64_C(0xa54ff53a5f1d36f1),
    UINT64_C(0x510e527fade682d1), UINT64_C(0x9b05688c2b3e6c1f),
    UINT64_C(0x1f83d9abfb41bd6b), UINT64_C(0x5be0cd19137e2179),
};

/* The order of the message words in each round; the last two rounds repeat the first two. */
static const unsigned char fastcache_blake2b_order[12][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
};

/* On little-endian machines, compilers reduce this to one load, and the next to one store. */
static inline uint64_t fastcache_blake2b_load(const unsigned char *bytes)
{
    return (uint64_t)bytes[0] | (uint64_t)bytes[1] << 8 | (uint64_t)bytes[2] << 16 |
           (uint64_t)bytes[3] << 24 | (uint64_t)bytes[4] << 32 | (uint64_t)bytes[5] << 40 |
           (uint64_t)bytes[6] << 48 | (uint64_t)bytes[7] << 56;
}

static inline void fastcache_blake2b_store(unsigned char *bytes, uint64_t word)
{
    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)(word >> (8 * i));
    }
}

static inline uint64_t fastcache_blake2b_rotate(uint64_t word, int by)
{
    return word >> by | word << (64 - by);
}

#define FASTCACHE_BLAKE2B_MIX(a, b, c, d, first)             \
    do {                                                     \
        a += b + m[order[first]];                            \
        d = fastcache_blake2b_rotate(d ^ a, 32);             \
        c += d;                                              \
        b = fastcache_blake2b_rotate(b ^ c, 24);             \
        a += b + m[order[(first) + 1]];                      \
        d = fastcache_blake2b_rotate(d ^ a, 16);             \
        c += d;                                              \
        b = fastcache_blake2b_rotate(b ^ c, 63);             \
    } while (0)

/* Adds one block to the chaining values; `total` is the number of bytes so far, including the
 * key block. Totals of 2**64 and more cannot occur. */
static inline void fastcache_blake2b_compress(uint64_t chain[8], const unsigned char *block,
                                              uint64_t total, int last)
{
    uint64_t m[16];
    for (int i = 0; i < 16; i++) {
        m[i] = fastcache_blake2b_load(block + 8 * i);
    }
    uint64_t v0 = chain[0], v1 = chain[1], v2 = chain[2], v3 = chain[3];
    uint64_t v4 = chain[4], v5 = chain[5], v6 = chain[6], v7 = chain[7];
    uint64_t v8 = fastcache_blake2b_start[0], v9 = fastcache_blake2b_start[1];
    uint64_t va = fastcache_blake2b_start[2], vb = fastcache_blake2b_start[3];
    uint64_t vc = fastcache_blake2b_start[4] ^ total, vd = fastcache_blake2b_start[5];
    uint64_t ve = last ? ~fastcache_blake2b_start[6] : fastcache_blake2b_start[6];
    uint64_t vf = fastcache_blake2b_start[7];
#if defined(__clang__)
#pragma clang loop unroll(disable)
#elif defined(__GNUC__)
#pragma GCC unroll 1
#endif
    for (int round = 0; round < 12; round++) {
        const unsigned char *order = fastcache_blake2b_order[round];
        FASTCACHE_BLAKE2B_MIX(v0, v4, v8, vc, 0);
        FASTCACHE_BLAKE2B_MIX(v1, v5, v9, vd, 2);
        FASTCACHE_BLAKE2B_MIX(v2, v6, va, ve, 4);
        FASTCACHE_BLAKE2B_MIX(v3, v7, vb, vf, 6);
        FASTCACHE_BLAKE2B_MIX(v0, v5, va, vf, 8);
        FASTCACHE_BLAKE2B_MIX(v1, v6, vb, vc, 10);
        FASTCACHE_BLAKE2B_MIX(v2, v7, v8, vd, 12);
        FASTCACHE_BLAKE2B_MIX(v3, v4, v9, ve, 14);
    }
    chain[0] ^= v0 ^ v8;
    chain[1] ^= v1 ^ v9;
    chain[2] ^= v2 ^ va;
    chain[3] ^= v3 ^ vb;
    chain[4] ^= v4 ^ vc;
    chain[5] ^= v5 ^ vd;
    chain[6] ^= v6 ^ ve;
    chain[7] ^= v7 ^ vf;
}

/* `length` of the key is 1 to 64; `size` of a digest in bytes is a multiple of 8 up to 64. */
static inline void fastcache_blake2b_init(fastcache_blake2b_key *key, const unsigned char *bytes,
                                          size_t length, size_t size)
{
    unsigned char block[FASTCACHE_BLAKE2B_BLOCK] = {0};
    memcpy(block, bytes, length);
    memcpy(key->after_key, fastcache_blake2b_start, sizeof key->after_key);
    key->after_key[0] ^= UINT64_C(0x01010000) ^ (uint64_t)length << 8 ^ (uint64_t)size;
    memcpy(key->only_key, key->after_key, sizeof key->only_key);
    fastcache_blake2b_compress(key->after_key, block, FASTCACHE_BLAKE2B_BLOCK, 0);
    fastcache_blake2b_compress(key->only_key, block, FASTCACHE_BLAKE2B_BLOCK, 1);
}

/* Writes the digest of a message to `out`, in the size that was passed to the init function. */
static inline void fastcache_blake2b(const fastcache_blake2b_key *key, const unsigned char *data,
                                     size_t length, unsigned char *out, size_t size)
{
    uint64_t chain[8];
    uint64_t total = FASTCACHE_BLAKE2B_BLOCK;
    memcpy(chain, length == 0 ? key->only_key : key->after_key, sizeof chain);
    if (length > 0) {
        unsigned char block[FASTCACHE_BLAKE2B_BLOCK] = {0};
        for (; length > FASTCACHE_BLAKE2B_BLOCK; length -= FASTCACHE_BLAKE2B_BLOCK) {
            total += FASTCACHE_BLAKE2B_BLOCK;
            fastcache_blake2b_compress(chain, data, total, 0);
            data += FASTCACHE_BLAKE2B_BLOCK;
        }
        memcpy(block, data, length);
        fastcache_blake2b_compress(chain, block, total + length, 1);
    }
    for (size_t i = 0; i < size / 8; i++) {
        fastcache_blake2b_store(out + 8 * i, chain[i]);
    }
}

#endif
