/* Keyed BLAKE2b (RFC 7693), with the block that holds the key hashed once for all messages.
 *
 * A short message then takes one call of the compression function. Of that there is a form
 * for processors with AVX2 (_blake2b_avx2.h), and one for all others. FASTCACHE_PORTABLE
 * leaves the first one out.
 */
#ifndef FASTCACHE_BLAKE2B_H
#define FASTCACHE_BLAKE2B_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(FASTCACHE_PORTABLE)
#define FASTCACHE_MAY_HAVE_AVX2 1
#include "_blake2b_avx2.h"
#else
#define FASTCACHE_MAY_HAVE_AVX2 0
#endif

#define FASTCACHE_BLAKE2B_BLOCK 128
#define FASTCACHE_BLAKE2B_OUT 64

/* The key, as the chaining values of what comes after it. */
typedef struct {
    uint64_t after_key[8]; /* the block of the key, with more to come */
    uint64_t only_key[8];  /* the block of the key as the last one: the empty message */
    size_t size;           /* of a digest, in bytes */
} fastcache_blake2b_key;

static const uint64_t fastcache_blake2b_start[8] = {
    UINT64_C(0x6a09e667f3bcc908), UINT64_C(0xbb67ae8584caa73b),
    UINT64_C(0x3c6ef372fe94f82b), UINT64_C(0xa54ff53a5f1d36f1),
    UINT64_C(0x510e527fade682d1), UINT64_C(0x9b05688c2b3e6c1f),
    UINT64_C(0x1f83d9abfb41bd6b), UINT64_C(0x5be0cd19137e2179),
};

/* Compilers make one load of this, and one store of the next, where bytes are in this order. */
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

#define FASTCACHE_ROTATE(word, by) ((word) >> (by) | (word) << (64 - (by)))

#define FASTCACHE_MIX(a, b, c, d, x, y)  \
    do {                                 \
        a += b + (x);                    \
        d = FASTCACHE_ROTATE(d ^ a, 32); \
        c += d;                          \
        b = FASTCACHE_ROTATE(b ^ c, 24); \
        a += b + (y);                    \
        d = FASTCACHE_ROTATE(d ^ a, 16); \
        c += d;                          \
        b = FASTCACHE_ROTATE(b ^ c, 63); \
    } while (0)

/* One round: the columns, then the diagonals, with the message words in the order given. */
#define FASTCACHE_ROUND(i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, ia, ib, ic, id, ie, i_) \
    do {                                                                                \
        FASTCACHE_MIX(v0, v4, v8, vc, m[i0], m[i1]);                                    \
        FASTCACHE_MIX(v1, v5, v9, vd, m[i2], m[i3]);                                    \
        FASTCACHE_MIX(v2, v6, va, ve, m[i4], m[i5]);                                    \
        FASTCACHE_MIX(v3, v7, vb, vf, m[i6], m[i7]);                                    \
        FASTCACHE_MIX(v0, v5, va, vf, m[i8], m[i9]);                                    \
        FASTCACHE_MIX(v1, v6, vb, vc, m[ia], m[ib]);                                    \
        FASTCACHE_MIX(v2, v7, v8, vd, m[ic], m[id]);                                    \
        FASTCACHE_MIX(v3, v4, v9, ve, m[ie], m[i_]);                                    \
    } while (0)

/* The compression function for any processor. The rounds are written out, so that the order
 * of the message words is known when this is compiled. */
static inline void fastcache_blake2b_compress_anywhere(uint64_t chain[8],
                                                       const unsigned char *block,
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

    FASTCACHE_ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    FASTCACHE_ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
    FASTCACHE_ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);
    FASTCACHE_ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);
    FASTCACHE_ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);
    FASTCACHE_ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);
    FASTCACHE_ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);
    FASTCACHE_ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);
    FASTCACHE_ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);
    FASTCACHE_ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);
    FASTCACHE_ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    FASTCACHE_ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);

    chain[0] ^= v0 ^ v8;
    chain[1] ^= v1 ^ v9;
    chain[2] ^= v2 ^ va;
    chain[3] ^= v3 ^ vb;
    chain[4] ^= v4 ^ vc;
    chain[5] ^= v5 ^ vd;
    chain[6] ^= v6 ^ ve;
    chain[7] ^= v7 ^ vf;
}

/* Takes one block into the chaining values; `total` is the number of bytes so far, the key's
 * block included. Totals of 2**64 and more are out of reach of what lies in memory. */
static inline void fastcache_blake2b_compress(uint64_t chain[8], const unsigned char *block,
                                              uint64_t total, int last)
{
#if FASTCACHE_MAY_HAVE_AVX2
    if (fastcache_has_avx2) {
        fastcache_blake2b_compress_avx2(chain, fastcache_blake2b_start, block, total, last);
        return;
    }
#endif
    fastcache_blake2b_compress_anywhere(chain, block, total, last);
}

/* `length` is 1 to 64, `size` is 1 to 64. */
static inline void fastcache_blake2b_init(fastcache_blake2b_key *key,
                                          const unsigned char *bytes, size_t length, size_t size)
{
    unsigned char block[FASTCACHE_BLAKE2B_BLOCK] = {0};
    memcpy(block, bytes, length);
    memcpy(key->after_key, fastcache_blake2b_start, sizeof key->after_key);
    key->after_key[0] ^= UINT64_C(0x01010000) ^ (uint64_t)length << 8 ^ (uint64_t)size;
    memcpy(key->only_key, key->after_key, sizeof key->only_key);
    fastcache_blake2b_compress(key->after_key, block, FASTCACHE_BLAKE2B_BLOCK, 0);
    fastcache_blake2b_compress(key->only_key, block, FASTCACHE_BLAKE2B_BLOCK, 1);
    key->size = size;
}

/* Writes the digest of a message, key->size bytes, to `out`. */
static inline void fastcache_blake2b(const fastcache_blake2b_key *key, const unsigned char *data,
                                     size_t length, unsigned char *out)
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
    if (key->size == 16) {
        fastcache_blake2b_store(out, chain[0]);
        fastcache_blake2b_store(out + 8, chain[1]);
        return;
    }
    unsigned char whole[FASTCACHE_BLAKE2B_OUT];
    for (int i = 0; i < 8; i++) {
        fastcache_blake2b_store(whole + 8 * i, chain[i]);
    }
    memcpy(out, whole, key->size);
}

/* 1: equal. Takes the same time wherever two byte strings differ. */
static inline int fastcache_equal_digests(const unsigned char *left, const unsigned char *right,
                                          size_t size)
{
    unsigned char difference = 0;
    for (size_t i = 0; i < size; i++) {
        difference |= left[i] ^ right[i];
    }
    /* The compiler must not know the difference, or it could stop at the first one. */
    volatile unsigned char opaque = difference;
    return opaque == 0;
}

#endif
