"""References that a change of a cache drops, collected and released after the change.

Releasing a reference can run any Python code, which must not find a cache in the middle of a
change. Most changes drop only a few references, so the first few need no allocation.
"""

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject


cdef extern from "Python.h":
    void decref "Py_DECREF"(PyObject *reference) noexcept


cdef int garbage_make_room(Garbage *garbage) noexcept:
    """Make room for one more pair, so that adding it cannot fail; -1 if there is no memory."""
    cdef PyObject **many
    cdef Py_ssize_t room
    cdef Py_ssize_t i
    if garbage.count + 2 <= garbage.room:
        return 0
    room = garbage.room * 2
    many = <PyObject **>PyMem_Realloc(garbage.many, <size_t>room * sizeof(PyObject *))
    if many == NULL:
        return -1
    if garbage.many == NULL:
        for i in range(garbage.count):
            many[i] = garbage.few[i]
    garbage.many = many
    garbage.room = room
    return 0


cdef void garbage_release(Garbage *garbage) noexcept:
    """Release everything that was collected; this runs finalizers."""
    cdef PyObject **refs = garbage_refs(garbage)
    cdef Py_ssize_t i
    for i in range(garbage.count):
        decref(refs[i])
    PyMem_Free(garbage.many)
    garbage_start(garbage)


cdef list garbage_pairs(Garbage *garbage):
    """The collected references as a list of (key, value); the garbage keeps them, too."""
    # No comprehension: Cython 3.3 releases an object twice if it cannot append it for lack of
    # memory.
    cdef PyObject **refs = garbage_refs(garbage)
    cdef list pairs = []
    cdef Py_ssize_t i
    for i in range(0, garbage.count, 2):
        pairs.append((<object>refs[i], <object>refs[i + 1]))
    return pairs
