/* A sequence lock: words that one writer at a time changes, and that others read without a lock.
 *
 * The first word is a counter: it is odd during a change, and every change increases it. A
 * reader loads the counter, the words, and the counter again. The words are valid if both values
 * of the counter are equal and even.
 *
 * Every word in between is stored with release and loaded with acquire semantics. So a reader
 * that loaded any word of a change also sees, when it loads the counter again, that the counter
 * became odd before; and that second load cannot happen before the load of the last word. This
 * needs no fence, is not a data race in C, and costs nothing on x86.
 *
 * Bytes are stored in the words in memory order; the last word is padded with zeros.
 */
#ifndef FASTCACHE_SEQLOCK_H
#define FASTCACHE_SEQLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "_atomics.h"

/* For writers, which exclude each other by a lock. A writer that died left the counter odd; the
 * next writer continues from there. */
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
