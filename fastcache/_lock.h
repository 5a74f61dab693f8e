/* The lock of a shard: a mutex where threads run Python at once, nothing where the GIL does.
 *
 * It is held for as long as a shard is read or changed and never while Python code can run:
 * no comparison of any but exact types, no release of a reference, no exception raised.
 * Waiting for it lets the collector stop the world, so that the collector, which visits a
 * shard without the lock, never finds one half changed.
 */
#ifndef FASTCACHE_LOCK_H
#define FASTCACHE_LOCK_H

#include <Python.h>

#include "_gil.h"

#if !FASTCACHE_GIL

typedef PyMutex fastcache_mutex;

/* How often a held lock is looked at before its holder is taken for one that does not run. */
#define FASTCACHE_LOOKS 100

static inline int fastcache_is_locked(fastcache_mutex *mutex)
{
#if PY_VERSION_HEX >= 0x030E0000
    return PyMutex_IsLocked(mutex);
#else
    return __atomic_load_n(&mutex->_bits, __ATOMIC_RELAXED) & 1;
#endif
}

static inline void fastcache_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb");
#endif
}

/* PyMutex asks the system to run another thread at its first look that finds it locked. What
 * is done here under the lock is over before the system could, so it is waited for first. */
static inline void fastcache_lock(fastcache_mutex *mutex)
{
    for (int look = 0; look < FASTCACHE_LOOKS && fastcache_is_locked(mutex); look++) {
        fastcache_pause();
    }
    PyMutex_Lock(mutex);
}

static inline void fastcache_unlock(fastcache_mutex *mutex)
{
    PyMutex_Unlock(mutex);
}

#else

typedef struct {
    char unused;
} fastcache_mutex;

static inline void fastcache_lock(fastcache_mutex *mutex)
{
    (void)mutex;
}

static inline void fastcache_unlock(fastcache_mutex *mutex)
{
    (void)mutex;
}

#endif

#endif
