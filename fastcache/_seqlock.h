/* A run of words that one writer at a time changes while others read it without a lock.
 *
 * The first word counts: it is odd while the run is being changed, and grows with every
 * change. A reader takes the count, then the words, then the count again; what it took
 * holds where both counts are the same and even.
 *
 * Every word between is stored by a release and loaded by an acquire. A reader that took
 * any word of a change therefore sees, at its second look, that the count had become odd
 * before; and its second look cannot come before its last word. That needs no fence, is no
 * race in the sense of C, and costs nothing on x86.
 *
 * Bytes lie in words as memory has them; the last word is filled up with zeros.
 */
#ifndef FASTCACHE_SEQLOCK_H
#define FASTCACHE_SEQLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "_atomics.h"

/* For writers, who exclude each other by a lock. A writer that died has left the count odd;
 * whoever follows goes on from there. */
static inline void fastcache_seq_begin(uint64_t *count)
{
    fastcache_store_relaxed(count, fastcache_load_relaxed(count) | 1);
}

static inline void fastcache_seq_end(uint64_t *count)
{
    fastcache_store(count, fastcache_load_relaxed(count) + 1);
}

static inline size_t fastcache_words_for(size_t length)
{
    return (length + 7) / 8;
}

static inline void fastcache_words_put(uint64_t *words, const void *bytes, size_t length)
{
    const unsigned char *from = (const unsigned char *)bytes;
    for (; length >= 8; length -= 8, from += 8, words++) {
        uint64_t word;
        memcpy(&word, from, 8);
        fastcache_store(words, word);
    }
    if (length > 0) {
        uint64_t word = 0;
        memcpy(&word, from, length);
        fastcache_store(words, word);
    }
}

static inline void fastcache_words_take(uint64_t *words, void *bytes, size_t length)
{
    unsigned char *to = (unsigned char *)bytes;
    for (; length >= 8; length -= 8, to += 8, words++) {
        uint64_t word = fastcache_load(words);
        memcpy(to, &word, 8);
    }
    if (length > 0) {
        uint64_t word = fastcache_load(words);
        memcpy(to, &word, length);
    }
}

static inline int fastcache_words_are(uint64_t *words, const void *bytes, size_t length)
{
    const unsigned char *with = (const unsigned char *)bytes;
    for (; length >= 8; length -= 8, with += 8, words++) {
        uint64_t word;
        memcpy(&word, with, 8);
        if (fastcache_load(words) != word) {
            return 0;
        }
    }
    if (length > 0) {
        uint64_t word = 0;
        memcpy(&word, with, length);
        return fastcache_load(words) == word;
    }
    return 1;
}

#endif
