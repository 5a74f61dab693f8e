/* The hash that maps a key to its stripe: the same in every process and every version.
 *
 * The bytes of the key are read as little-endian 64-bit words; the last one is padded with
 * zeros. The state starts as 0x9E3779B97F4A7C15 ^ length. Each word w is added by
 *
 *     state = (state ^ w) * 0xD6E8FEB86659FD93, then state ^= state >> 32
 *
 * and one more such round with w = 0 completes the hash. The stripe is state & (count - 1).
 *
 * It protects against accidental collisions, not against chosen keys: two keys with the same
 * stripe only cause an unnecessary miss.
 */
#ifndef FASTCACHE_FIXED_HASH_H
#define FASTCACHE_FIXED_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t fastcache_hash_round(uint64_t state, uint64_t word)
{
    state = (state ^ word) * UINT64_C(0xD6E8FEB86659FD93);
    return state ^ (state >> 32);
}

/* Reads 1 to 8 bytes. */
static inline uint64_t fastcache_word(const unsigned char *bytes, size_t count)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (count == 8) {
        uint64_t whole;
        memcpy(&whole, bytes, 8);
        return whole;
    }
#endif
    uint64_t word = 0;
    for (size_t i = 0; i < count; i++) {
        word |= (uint64_t)bytes[i] << (8 * i);
    }
    return word;
}

static inline uint64_t fastcache_fixed_hash(const char *key, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)key;
    uint64_t state = UINT64_C(0x9E3779B97F4A7C15) ^ (uint64_t)length;
    size_t done = 0;
    for (; length - done >= 8; done += 8) {
        state = fastcache_hash_round(state, fastcache_word(bytes + done, 8));
    }
    if (done < length) {
        state = fastcache_hash_round(state, fastcache_word(bytes + done, length - done));
    }
    return fastcache_hash_round(state, 0);
}

#endif
