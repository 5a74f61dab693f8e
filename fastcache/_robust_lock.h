/* A lock in shared memory that is only ever tried, and that survives the death of its owner.
 *
 * The lock is one word: 0 while it is free, else the owner's thread id with its complement in
 * the other half. While a thread takes, holds or releases a lock, it names the lock in the
 * `list_op_pending` field of its robust list, which is the thread's own memory. When a thread
 * ends, the kernel looks there, and marks a lock that the thread still owns as orphaned. A
 * stopped owner keeps the lock.
 *
 * The shared memory holds no pointer, and no content of the word is invalid: a word that is
 * neither free nor a thread id with its complement is either orphaned or damaged, and the next
 * thread takes it over in both cases. A mutex of the C library has neither property.
 */
#ifndef FASTCACHE_ROBUST_LOCK_H
#define FASTCACHE_ROBUST_LOCK_H

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "_atomics.h"

#define FASTCACHE_BUSY 0
#define FASTCACHE_TAKEN 1
#define FASTCACHE_ORPHANED 2 /* taken; what it guards may be half changed */

typedef struct {
    uint64_t *word;
    uint64_t mine;
    struct robust_list_head *list;
    struct robust_list *pending;
} fastcache_hold;

/* The robust list of this thread, which the C library registers; NULL where there is none. */
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

/* What a thread knows of itself. A forked child has its parent's copy, with another thread id. */
static _Thread_local struct {
    unsigned long forks;
    uint32_t thread;
    struct robust_list_head *list;
} fastcache_robust_self;

/* 0 until the handler below is registered; nothing is remembered before. */
static _Atomic unsigned long fastcache_robust_forks;

static void fastcache_robust_forked(void)
{
    atomic_fetch_add(&fastcache_robust_forks, 1);
}

/* To be called once, when the module is loaded. */
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

/* The kernel reads the list of this very thread: the compiler alone has to keep the order. */
static inline void fastcache_robust_name(struct robust_list_head *list, struct robust_list *entry)
{
    atomic_signal_fence(memory_order_seq_cst);
    *(struct robust_list *volatile *)&list->list_op_pending = entry;
    atomic_signal_fence(memory_order_seq_cst);
}

/* Whoever gets FASTCACHE_ORPHANED has to make what the lock guards whole again. An owner that
 * dies before it has done so leaves the lock orphaned again. */
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

/* A lock that was damaged while it was held may have another owner by now, who keeps it. */
static inline void fastcache_robust_unlock(fastcache_hold *hold)
{
    (void)fastcache_compare_exchange(hold->word, hold->mine, 0);
    fastcache_robust_name(hold->list, hold->pending);
}

#endif
