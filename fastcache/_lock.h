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

#ifdef Py_GIL_DISABLED

typedef PyMutex fastcache_mutex;

static inline void fastcache_lock(fastcache_mutex *mutex)
{
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
