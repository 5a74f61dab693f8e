# What a request passes before the application: the WSGI call around the check.

from cpython.object cimport PyObject

from latchkey.check._check cimport Check


cdef class Gate:
    # What it does when it is called; see PEP 590.
    cdef object (*called)(Gate, PyObject **, size_t, PyObject *)
    cdef Check check
    cdef object function        # the application; of a method, its function,
    cdef object first           # and what that is called with first
    cdef bint bound             # whether it is a method
    cdef readonly object policy
