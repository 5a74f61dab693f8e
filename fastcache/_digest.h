/* Keyed digests of 16 bytes, by the algorithm that is fastest on this processor.
 *
 * On a processor with SHA-256 instructions (_sha256_x86.h), a digest is the first 16 bytes of
 * SHA-256 over the key, padded with zeros to a block, and the message. The truncation prevents
 * length extension, so no outer hash is needed. On any other processor, and with
 * FASTCACHE_PORTABLE, it is the keyed digest of BLAKE2b with 16 bytes (_blake2b.h). In both
 * cases the key block is hashed once for all messages. Digests of different machines must not
 * be compared.
 */
#ifndef FASTCACHE_DIGEST_H
#define FASTCACHE_DIGEST_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "_blake2b.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(FASTCACHE_PORTABLE)
#define FASTCACHE_MAY_HAVE_SHA256 1
#include "_sha256_x86.h"
#else
#define FASTCACHE_MAY_HAVE_SHA256 0
#endif

#define FASTCACHE_DIGEST 16

typedef union {
    fastcache_blake2b_key blake2b;
#if FASTCACHE_MAY_HAVE_SHA256
    fastcache_sha256_key sha256;
#endif
} fastcache_digest_key;

/* Whether digests use SHA-256. */
static inline int fastcache_digests_by_sha256(void)
{
#if FASTCACHE_MAY_HAVE_SHA256
    return fastcache_has_sha256;
#else
    return 0;
#endif
}

/* `length` of the key is 1 to 64. */
static inline void fastcache_digest_init(fastcache_digest_key *key, const unsigned char *bytes,
                                         size_t length)
{
#if FASTCACHE_MAY_HAVE_SHA256
    if (fastcache_has_sha256) {
        fastcache_sha256_init(&key->sha256, bytes, length);
        return;
    }
#endif
    fastcache_blake2b_init(&key->blake2b, bytes, length, FASTCACHE_DIGEST);
}

/* Not inlined, because callers rarely need it. */
__attribute__((noinline, unused)) static void
fastcache_digest_portable(const fastcache_digest_key *key, const unsigned char *data,
                          size_t length, unsigned char out[FASTCACHE_DIGEST])
{
    fastcache_blake2b(&key->blake2b, data, length, out, FASTCACHE_DIGEST);
}

/* Writes the digest of a message to `out`. */
static inline void fastcache_digest(const fastcache_digest_key *key, const unsigned char *data,
                                    size_t length, unsigned char out[FASTCACHE_DIGEST])
{
#if FASTCACHE_MAY_HAVE_SHA256
    if (fastcache_has_sha256) {
        fastcache_sha256(&key->sha256, data, length, out, FASTCACHE_DIGEST);
        return;
    }
#endif
    fastcache_digest_portable(key, data, length, out);
}

/* 1: equal. The time does not depend on where two digests differ. */
static inline int fastcache_equal_digests(const unsigned char left[FASTCACHE_DIGEST],
                                          const unsigned char right[FASTCACHE_DIGEST])
{
    uint64_t words[4];
    memcpy(words, left, FASTCACHE_DIGEST);
    memcpy(words + 2, right, FASTCACHE_DIGEST);
        /* Hide the difference from the compiler, which could otherwise stop at the first byte. */
    volatile uint64_t opaque = (words[0] ^ words[2]) | (words[1] ^ words[3]);
    return opaque == 0;
}

#endif
