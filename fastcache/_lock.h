/* The lock of a shard: a mutex on builds without the GIL, nothing on builds with it.
 *
 * It is held while a shard is read or changed, and never while Python code can run: only exact
 * types are compared, no reference is released and no exception is raised. A thread that waits
 * for the lock can be stopped by the collector, and a thread that holds it cannot. So the
 * collector, which visits shards without the lock, never finds a shard in the middle of a change.
 */
#ifndef FASTCACHE_LOCK_H
#define FASTCACHE_LOCK_H

#include <Python.h>

#include "_gil.h"

#if !FASTCACHE_GIL

typedef PyMutex fastcache_mutex;

/* How often a taken lock is checked before its owner is assumed not to be running. */
#define FASTCACHE_POLLS 100

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

/* PyMutex yields to the scheduler as soon as it finds the lock taken. What is done under this
 * lock takes less time than that, so the lock is polled first. */
static inline void fastcache_lock(fastcache_mutex *mutex)
{
    for (int poll = 0; poll < FASTCACHE_POLLS && fastcache_is_locked(mutex); poll++) {
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
