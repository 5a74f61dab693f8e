# Where uses come from, as the way of a hit asks it.

from libc.stdint cimport uint64_t

from fastcache._tallies cimport Tallies


cdef inline bint in_another_second(uint64_t before, uint64_t now) noexcept nogil:
    """Whether two times in milliseconds lie in different seconds, of 1,024 milliseconds."""
    return (before ^ now) >> 10 != 0


cdef class Sources:
    cdef readonly Tallies uses
    cdef bint forwarded         # whether proxies say where a request comes from

    cdef int look(self, dict environ, uint64_t *row, uint64_t now) except -1
