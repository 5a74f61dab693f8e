# Declarations for other compiled modules: references that a change drops.

from cpython.object cimport PyObject


cdef enum:
    FEW = 8


cdef struct Garbage:    # owned references, alternately keys and values
    Py_ssize_t count
    Py_ssize_t room
    PyObject **many     # NULL while `few` is large enough
    PyObject *few[FEW]


cdef inline void garbage_start(Garbage *garbage) noexcept:
    garbage.count = 0
    garbage.room = FEW
    garbage.many = NULL


cdef inline PyObject **garbage_refs(Garbage *garbage) noexcept:
    return &garbage.few[0] if garbage.many == NULL else garbage.many


cdef inline void garbage_add(Garbage *garbage, PyObject *reference) noexcept:
    garbage_refs(garbage)[garbage.count] = reference
    garbage.count += 1


cdef int garbage_make_room(Garbage *garbage) noexcept
cdef void garbage_release(Garbage *garbage) noexcept
cdef list garbage_pairs(Garbage *garbage)
