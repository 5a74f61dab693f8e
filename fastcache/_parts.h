/* The parts of a cache, which one thread may replace while other threads read them. */
#ifndef FASTCACHE_PARTS_H
#define FASTCACHE_PARTS_H

#include <Python.h>

#if defined(__GNUC__)
/* Borrowed reference. Everything that was written to a part before it was installed is visible. */
#define FASTCACHE_PART(word) ((PyObject *)__atomic_load_n(word, __ATOMIC_ACQUIRE))
/* Installs a part, and returns the reference to the previous one. */
#define FASTCACHE_EXCHANGE(word, part) \
    (Py_INCREF(part),                  \
     (PyObject *)__atomic_exchange_n(word, (__typeof__(*(word)))(part), __ATOMIC_ACQ_REL))
#else
#error "fastcache needs a compiler with GCC's atomic operations"
#endif

/* For a ShardedStore, whose members Cython declares. */
#define FASTCACHE_SETTINGS(store) FASTCACHE_PART(&(store)->settings)
#define FASTCACHE_SHARDS(store) FASTCACHE_PART(&(store)->shards)
#define FASTCACHE_EXCHANGE_SETTINGS(store, part) FASTCACHE_EXCHANGE(&(store)->settings, part)
#define FASTCACHE_EXCHANGE_SHARDS(store, part) FASTCACHE_EXCHANGE(&(store)->shards, part)

#endif
