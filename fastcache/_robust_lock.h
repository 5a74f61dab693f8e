/* A mutex in shared memory that is only ever tried, and that outlives its owner.
 *
 * The kernel tells the next who tries it when a process died while it had the mutex,
 * whatever it died of. A process that is stopped with it merely keeps others from it.
 */
#ifndef FASTCACHE_ROBUST_LOCK_H
#define FASTCACHE_ROBUST_LOCK_H

#include <errno.h>
#include <pthread.h>

/* The room that a lock has in what it guards: a cache line but one word. */
_Static_assert(sizeof(pthread_mutex_t) <= 56, "a mutex must fit where it lies");

#define FASTCACHE_TAKEN 1
#define FASTCACHE_ORPHANED 2 /* taken; what it guards may be half changed */
#define FASTCACHE_BUSY 0

/* 0, or the number of an error. */
static inline int fastcache_robust_init(void *memory)
{
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);
    if (error != 0) {
        return error;
    }
    error = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (error == 0) {
        error = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    }
    if (error == 0) {
        error = pthread_mutex_init((pthread_mutex_t *)memory, &attributes);
    }
    (void)pthread_mutexattr_destroy(&attributes);
    return error;
}

/* After FASTCACHE_ORPHANED, fastcache_robust_mend is due once what it guards is whole: who
 * dies before that leaves it orphaned again. */
static inline int fastcache_robust_try(void *memory)
{
    switch (pthread_mutex_trylock((pthread_mutex_t *)memory)) {
    case 0:
        return FASTCACHE_TAKEN;
    case EOWNERDEAD:
        return FASTCACHE_ORPHANED;
    default:
        return FASTCACHE_BUSY;
    }
}

static inline void fastcache_robust_mend(void *memory)
{
    (void)pthread_mutex_consistent((pthread_mutex_t *)memory);
}

static inline void fastcache_robust_unlock(void *memory)
{
    (void)pthread_mutex_unlock((pthread_mutex_t *)memory);
}

#endif
