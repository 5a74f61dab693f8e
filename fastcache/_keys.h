/* Comparing keys and passing references without calling Python code. */
#ifndef FASTCACHE_KEYS_H
#define FASTCACHE_KEYS_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

/* CPython 3.12 removed strings that are not in their final form. */
#if PY_VERSION_HEX < 0x030C0000
#define FASTCACHE_READY(text) PyUnicode_IS_READY(text)
#else
#define FASTCACHE_READY(text) 1
#endif

/* Keys are short: comparing word by word is faster than calling memcmp. */
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
                /* The last word may overlap the previous one. */
        at += sizeof(word);
        at = at < size - sizeof(word) ? at : size - sizeof(word);
    }
}

/* 1: equal, 0: not equal, -1: only a comparison in Python can decide.
 * Only exact types are compared here: a subclass may define its own __eq__. */
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

/* Like PyObject_Hash, but reads a hash that a string has already stored. */
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

/* Starts loading memory that will be needed soon. */
static inline void fastcache_prefetch(const void *memory)
{
#if defined(__GNUC__)
    __builtin_prefetch(memory, 1);
#else
    (void)memory;
#endif
}

/* Passes an owned reference from C code to Cython, which treats it as a new one. */
static inline PyObject *fastcache_give(PyObject *owned)
{
    return owned;
}

#endif
