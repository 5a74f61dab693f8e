/* Digests of 16 bytes under a key, by what this processor is quickest at.
 *
 * Where it has SHA-256 in its instructions (_sha256_x86.h), a digest is the first 16 bytes of
 * SHA-256 over the key, filled up with zeros to a block, and the message. What is left out of it
 * keeps anybody from going on with a digest to a longer message, so that no outer hash is needed.
 * Everywhere else, and with FASTCACHE_PORTABLE, it is BLAKE2b's own keyed digest of 16 bytes
 * (_blake2b.h). Either way, the block of the key is hashed once for all messages. What one
 * machine digested is not compared on another.
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

/* Whether digests are SHA-256's. */
static inline int fastcache_digests_by_sha256(void)
{
#if FASTCACHE_MAY_HAVE_SHA256
    return fastcache_has_sha256;
#else
    return 0;
#endif
}

/* `length` is 1 to 64. */
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

/* Apart from the code around it, which most often goes past it. */
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

/* 1: equal. Takes the same time wherever two digests differ. */
static inline int fastcache_equal_digests(const unsigned char left[FASTCACHE_DIGEST],
                                          const unsigned char right[FASTCACHE_DIGEST])
{
    uint64_t words[4];
    memcpy(words, left, FASTCACHE_DIGEST);
    memcpy(words + 2, right, FASTCACHE_DIGEST);
    /* The compiler must not know the difference, or it could stop at the first one. */
    volatile uint64_t opaque = (words[0] ^ words[2]) | (words[1] ^ words[3]);
    return opaque == 0;
}

#endif
