/* A lock in shared memory that is only tried and never waited for, and that survives the death
 * of its owner.
 *
 * The lock is one word: 0 if it is free, otherwise the owner's thread id, with its complement in
 * the other half. While a thread takes, holds or releases a lock, the `list_op_pending` field of
 * its robust list, which is in its own memory, points to the lock. When a thread ends, the kernel
 * reads this field, and marks a lock that the thread still owns as orphaned. A stopped thread keeps
 * its lock.
 *
 * The shared memory contains no pointers, and every content of the word is valid: if it is not 0
 * and not a thread id with its complement, the lock is orphaned or damaged, and the next thread
 * takes it over in both cases. The mutexes of the C library do not have these two properties.
 */
#ifndef FASTCACHE_ROBUST_LOCK_H
#define FASTCACHE_ROBUST_LOCK_H

#if defined(__linux__)
#include <linux/futex.h>
#endif
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif
#include <unistd.h>

#include "_atomics.h"

#define FASTCACHE_BUSY 0
#define FASTCACHE_TAKEN 1
#define FASTCACHE_ORPHANED 2 /* taken; the protected data may be in the middle of a change */

#if defined(__linux__)

typedef struct {
    uint64_t *word;
    uint64_t mine;
    struct robust_list_head *list;
    struct robust_list *pending;
} fastcache_hold;

/* The robust list of this thread, as registered by the C library; NULL if there is none. */
static inline struct robust_list_head *fastcache_robust_list(void)
{
    struct robust_list_head *list = NULL;
    size_t size = 0;
    if (syscall(SYS_get_robust_list, 0, &list, &size) != 0) {
        return NULL;
    }
    return list;
}

static inline int fastcache_robust_supported(void)
{
    return fastcache_robust_list() != NULL;
}

/* A thread's cached data. A forked child has a copy of its parent's, but another thread id. */
static _Thread_local struct {
    unsigned long forks;
    uint32_t thread;
    struct robust_list_head *list;
} fastcache_robust_self;

/* 0 until the handler below is registered; before that, nothing is cached. */
static _Atomic unsigned long fastcache_robust_forks;

static void fastcache_robust_forked(void)
{
    atomic_fetch_add(&fastcache_robust_forks, 1);
}

/* Call once, when the module is loaded. */
static inline void fastcache_robust_start(void)
{
    if (pthread_atfork(NULL, NULL, fastcache_robust_forked) == 0) {
        atomic_store(&fastcache_robust_forks, 1);
    }
}

static inline void fastcache_robust_know_self(void)
{
    unsigned long forks = atomic_load_explicit(&fastcache_robust_forks, memory_order_relaxed);
    if (forks == 0 || fastcache_robust_self.forks != forks) {
        fastcache_robust_self.list = fastcache_robust_list();
        fastcache_robust_self.thread = (uint32_t)syscall(SYS_gettid);
        fastcache_robust_self.forks = forks;
    }
}

/* The half of the word that the kernel compares with a thread id. */
static inline char *fastcache_robust_futex(uint64_t *word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (char *)word + 4;
#else
    return (char *)word;
#endif
}

static inline uint64_t fastcache_robust_owned_by(uint32_t thread)
{
    return (uint64_t)~thread << 32 | thread;
}

/* The kernel reads the list in this thread, so only the compiler must preserve the order. */
static inline void fastcache_robust_name(struct robust_list_head *list, struct robust_list *entry)
{
    atomic_signal_fence(memory_order_seq_cst);
    *(struct robust_list *volatile *)&list->list_op_pending = entry;
    atomic_signal_fence(memory_order_seq_cst);
}

/* A caller that gets FASTCACHE_ORPHANED must repair the protected data. If it dies before, the
 * lock is orphaned again. */
static inline int fastcache_robust_try(fastcache_hold *hold, uint64_t *word)
{
    fastcache_robust_know_self();
    struct robust_list_head *list = fastcache_robust_self.list;
    if (list == NULL) {
        return FASTCACHE_BUSY;
    }
    uint64_t found = fastcache_load(word);
    uint32_t owner = (uint32_t)found & FUTEX_TID_MASK;
    if (owner != 0 && found == fastcache_robust_owned_by(owner)) {
        return FASTCACHE_BUSY;
    }
    hold->word = word;
    hold->mine = fastcache_robust_owned_by(fastcache_robust_self.thread);
    hold->list = list;
    hold->pending = list->list_op_pending;
    fastcache_robust_name(
        list, (struct robust_list *)(fastcache_robust_futex(word) - list->futex_offset));
    if (!fastcache_compare_exchange(word, found, hold->mine)) {
        fastcache_robust_name(list, hold->pending);
        return FASTCACHE_BUSY;
    }
    return found == 0 ? FASTCACHE_TAKEN : FASTCACHE_ORPHANED;
}

/* A lock that was damaged while it was held may have another owner by now, which keeps it. */
static inline void fastcache_robust_unlock(fastcache_hold *hold)
{
    (void)fastcache_compare_exchange(hold->word, hold->mine, 0);
    fastcache_robust_name(hold->list, hold->pending);
}

#else

/* Other systems have no segments, so the memory belongs to one process. Its threads end outside of
 * such a lock, because no code of a caller runs within one. */
typedef struct {
    uint64_t *word;
} fastcache_hold;

static inline int fastcache_robust_supported(void)
{
    return 1;
}

static inline void fastcache_robust_start(void)
{
}

static inline int fastcache_robust_try(fastcache_hold *hold, uint64_t *word)
{
    hold->word = word;
    return fastcache_compare_exchange(word, 0, 1) ? FASTCACHE_TAKEN : FASTCACHE_BUSY;
}

static inline void fastcache_robust_unlock(fastcache_hold *hold)
{
    (void)fastcache_compare_exchange(hold->word, 1, 0);
}

#endif

#endif
