/* Comparing keys, and handing over references, without calling Python code. */
#ifndef FASTCACHE_KEYS_H
#define FASTCACHE_KEYS_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

/* CPython 3.12 dropped the strings that are not yet in their final form. */
#if PY_VERSION_HEX < 0x030C0000
#define FASTCACHE_READY(text) PyUnicode_IS_READY(text)
#else
#define FASTCACHE_READY(text) 1
#endif

/* Keys are short: a word at a time is sooner done than a call of memcmp. */
static inline int fastcache_same(const void *left, const void *right, size_t size)
{
    const char *one = left;
    const char *other = right;
    uint64_t word, against;
    size_t at = 0;
    if (size < sizeof(word) || size > 8 * sizeof(word)) {
        return memcmp(one, other, size) == 0;
    }
    for (;;) {
        memcpy(&word, one + at, sizeof(word));
        memcpy(&against, other + at, sizeof(word));
        if (word != against) {
            return 0;
        }
        if (at == size - sizeof(word)) {
            return 1;
        }
        /* The last word may overlap the one before it. */
        at += sizeof(word);
        at = at < size - sizeof(word) ? at : size - sizeof(word);
    }
}

/* 1: equal, 0: not equal, -1: only Python's own comparison can tell.
 * Exact types only: a subclass may have an __eq__ of its own. */
static inline int fastcache_equal(PyObject *left, PyObject *right)
{
    if (PyUnicode_CheckExact(left) && PyUnicode_CheckExact(right)) {
        if (!FASTCACHE_READY(left) || !FASTCACHE_READY(right)) {
            return -1;
        }
        Py_ssize_t length = PyUnicode_GET_LENGTH(left);
        int kind = (int)PyUnicode_KIND(left);
        if (length != PyUnicode_GET_LENGTH(right) || kind != (int)PyUnicode_KIND(right)) {
            return 0;
        }
        return fastcache_same(PyUnicode_DATA(left), PyUnicode_DATA(right),
                              (size_t)length * (size_t)kind);
    }
    if (PyBytes_CheckExact(left) && PyBytes_CheckExact(right)) {
        Py_ssize_t length = PyBytes_GET_SIZE(left);
        if (length != PyBytes_GET_SIZE(right)) {
            return 0;
        }
        return fastcache_same(PyBytes_AS_STRING(left), PyBytes_AS_STRING(right), (size_t)length);
    }
    if (PyLong_CheckExact(left) && PyLong_CheckExact(right)) {
        return PyObject_RichCompareBool(left, right, Py_EQ);
    }
    return -1;
}

/* As PyObject_Hash; a string that knows its hash is not asked for it. */
static inline Py_hash_t fastcache_hash(PyObject *key)
{
#if defined(__GNUC__)
    if (PyUnicode_CheckExact(key)) {
        Py_hash_t known = __atomic_load_n(&((PyASCIIObject *)key)->hash, __ATOMIC_RELAXED);
        return known != -1 ? known : PyUnicode_Type.tp_hash(key);
    }
#endif
    return PyObject_Hash(key);
}

/* Lookups know which memory they will touch before they need it. */
static inline void fastcache_prefetch(const void *memory)
{
#if defined(__GNUC__)
    __builtin_prefetch(memory, 1);
#else
    (void)memory;
#endif
}

/* Gives a reference that C code owns to Cython, which takes it as a new one. */
static inline PyObject *fastcache_give(PyObject *owned)
{
    return owned;
}

#endif
