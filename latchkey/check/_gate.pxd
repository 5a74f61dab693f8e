# The WSGI callable in front of the application, which runs the check.

from cpython.object cimport PyObject

from latchkey.check._check cimport Check
from latchkey.check._limits cimport LimitOutcome


cdef class TellingStart:
    # The function that a call runs; see PEP 590.
    cdef object (*called)(TellingStart, PyObject **, size_t, PyObject *)
    cdef object start_response
    cdef LimitOutcome outcome
    cdef bint as_x


# A start_response that adds the headers of a LimitOutcome.
cdef TellingStart telling(PyObject *start_response, PyObject *outcome, bint as_x)


cdef class Gate:
    # The function that a call runs; see PEP 590.
    cdef object (*called)(Gate, PyObject **, size_t, PyObject *)
    cdef Check check
    cdef object function        # the application, or the function of a bound method
    cdef object first           # the instance of a bound method
    cdef bint bound             # whether it is a method
    cdef readonly object policy
