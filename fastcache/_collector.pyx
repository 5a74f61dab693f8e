"""How the cyclic collector sees a shard: the keys and values in its entries.

It visits without the shard's lock: where threads run at once it has stopped them all, none
of them within a change.
"""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fastcache._entry cimport TableEntry
from fastcache._shard cimport Shard


cdef extern from "Python.h":
    # Cython's own declarations of these let exceptions through, which none of them may.
    ctypedef int (*Visit "visitproc")(PyObject *item, void *arg) noexcept
    ctypedef int (*Traverse "traverseproc")(PyObject *self, Visit visit, void *arg) noexcept
    ctypedef int (*Clear "inquiry")(PyObject *self) noexcept
    ctypedef struct Type "PyTypeObject":
        Traverse tp_traverse
        Clear tp_clear


# Cython's own traverse and clear know `settings` only; these go on into the entries.
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


cdef void show_shards() noexcept:
    """Let the collector see into shards; those that exist are seen too."""
    (<Type *>Shard).tp_traverse = _traverse
    (<Type *>Shard).tp_clear = _clear
