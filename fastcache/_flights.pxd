# Declarations for other compiled modules: calls with waiters.

from libc.stdint cimport uint64_t


cdef class Flight:
    cdef object owner       # the id of the thread, or the asyncio task, that makes the call
    cdef object done        # a locked lock or a pending future until the call is over
    cdef object value
    cdef object error       # the Exception that the call raised
    cdef tuple origin       # the traceback, cause and context of the error when it was raised
    cdef bint landed        # the call returned a value
    cdef bint over


cdef tuple mark_of(uint64_t generation, object loop, object key)
cdef Flight flight_of_thread()
cdef bint may_wait(object waiter, Flight flight) except -1
cdef int waited(object waiter) except -1
cdef int failed(Flight flight, object error) except -1
cdef object error_of_its_own(Flight flight, bint alone)
cdef int end(Flight flight) except -1
