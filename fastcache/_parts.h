/* The parts of a cache, which one thread may replace while others read them. */
#ifndef FASTCACHE_PARTS_H
#define FASTCACHE_PARTS_H

#include <Python.h>

#if defined(__GNUC__)
/* Borrowed. What was written into a part before it took its place is seen through this. */
#define FASTCACHE_PART(word) ((PyObject *)__atomic_load_n(word, __ATOMIC_ACQUIRE))
/* Puts a part into its place, and gives the reference to the one that was there. */
#define FASTCACHE_EXCHANGE(word, part) \
    (Py_INCREF(part),                  \
     (PyObject *)__atomic_exchange_n(word, (__typeof__(*(word)))(part), __ATOMIC_ACQ_REL))
#else
#error "fastcache needs a compiler with GCC's atomic operations"
#endif

/* Of a ShardedStore, whose members Cython declares. */
#define FASTCACHE_SETTINGS(store) FASTCACHE_PART(&(store)->settings)
#define FASTCACHE_SHARDS(store) FASTCACHE_PART(&(store)->shards)
#define FASTCACHE_EXCHANGE_SETTINGS(store, part) FASTCACHE_EXCHANGE(&(store)->settings, part)
#define FASTCACHE_EXCHANGE_SHARDS(store, part) FASTCACHE_EXCHANGE(&(store)->shards, part)

#endif
