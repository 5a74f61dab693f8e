# Measures how long an application takes to answer.

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from latchkey.box._counters cimport CounterBlock
from latchkey.box._latencies cimport Latencies


cdef class Watch:
    # The function that a call runs; see PEP 590.
    cdef object (*called)(Watch, PyObject **, size_t, PyObject *)
    cdef object start_response
    cdef object environ
    cdef Latencies latencies
    cdef uint64_t start
    cdef uint64_t *series       # NULL until start_response was called
    cdef bint returned


cdef class Latency:
    # The function that a call runs; see PEP 590.
    cdef object (*called)(Latency, PyObject **, size_t, PyObject *)
    cdef readonly object application
    cdef Latencies latencies
    cdef Watch spare            # an unused watch, for the next request; or None
    cdef CounterBlock block            # the words of `counters`
    cdef object counters
