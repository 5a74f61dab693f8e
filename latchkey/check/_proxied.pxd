# WSGI callables in front of the gate, for requests of reverse proxies.

from cpython.object cimport PyObject

from fastcache.shared._words cimport Counters
from latchkey.box._counters cimport CounterBlock
from latchkey.check._check cimport Check


cdef class Branch:
    # The function that a call runs; see PEP 590.
    cdef object (*called)(Branch, PyObject **, size_t, PyObject *)
    cdef str area
    cdef object find
    cdef object others


cdef class KnownAnswers:
    cdef object (*called)(KnownAnswers, PyObject **, size_t, PyObject *)
    cdef Check check
    cdef object undecided       # gets the requests that nothing is known about
    cdef object admitted        # gets those whose credential was found valid here
    cdef object named           # what the measurement of latency calls the route
    cdef str method             # the names of the variables
    cdef str target
    cdef str host
    cdef bint compares_query    # whether the original query has to be compared by Python
    cdef set methods            # those that were found valid
    cdef set hosts
    cdef dict urls              # by URL: answers by id of a principal, and the cost
    cdef Counters counters
    cdef CounterBlock block     # the words of `counters`
    cdef int allowed            # the counter of allowed requests

    cdef tuple answers_for(self, PyObject *environ)
