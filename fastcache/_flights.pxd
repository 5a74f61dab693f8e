# Calls that others wait for, as other compiled modules see them.

from libc.stdint cimport uint64_t


cdef class Flight:
    cdef object owner       # the thread's id, or the asyncio task, that makes the call
    cdef object done        # a lock that is held, or a future without result, until it is over
    cdef object value
    cdef object error       # an Exception that the call raised
    cdef tuple origin       # the error's traceback, cause and context, as they were then
    cdef bint landed        # it gave a value
    cdef bint over


cdef tuple mark_of(uint64_t generation, object loop, object key)
cdef Flight flight_of_thread()
cdef bint may_wait(object waiter, Flight flight) except -1
cdef int waited(object waiter) except -1
cdef int failed(Flight flight, object error) except -1
cdef object error_of_its_own(Flight flight, bint alone)
cdef int end(Flight flight) except -1
