"""Traversal of shards by the cyclic garbage collector: the keys and values of their entries.

It does not take the shard's lock: on builds without the GIL, the collector has stopped all
threads, and no thread can be stopped within a change.
"""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fastcache._entry cimport TableEntry
from fastcache._shard cimport Shard


cdef extern from "Python.h":
    # Cython declares these with exceptions, but none of them may raise.
    ctypedef int (*Visit "visitproc")(PyObject *item, void *arg) noexcept
    ctypedef int (*Traverse "traverseproc")(PyObject *self, Visit visit, void *arg) noexcept
    ctypedef int (*Clear "inquiry")(PyObject *self) noexcept
    ctypedef struct Type "PyTypeObject":
        Traverse tp_traverse
        Clear tp_clear


# The functions that Cython generates visit `settings` only; these also visit the entries.
cdef Traverse _traverse_attributes = (<Type *>Shard).tp_traverse
cdef Clear _clear_attributes = (<Type *>Shard).tp_clear


@cython.linetrace(False)
@cython.profile(False)
cdef int _traverse(PyObject *self, Visit visit, void *arg) noexcept:
    cdef TableEntry *entries = (<Shard>self).table.entries
    cdef uint32_t used = (<Shard>self).table.used
    cdef uint32_t i
    cdef int stop = _traverse_attributes(self, visit, arg)
    if stop != 0:
        return stop
    for i in range(1, used):
        if entries[i].key != NULL:
            stop = visit(entries[i].key, arg)
            if stop != 0:
                return stop
            stop = visit(entries[i].value, arg)
            if stop != 0:
                return stop
    return 0


cdef int _clear(PyObject *self) noexcept:
    (<Shard>self).discard()
    return _clear_attributes(self)


cdef void install_traversal() noexcept:
    """Install these functions in the type; they also apply to existing shards."""
    (<Type *>Shard).tp_traverse = _traverse
    (<Type *>Shard).tp_clear = _clear
