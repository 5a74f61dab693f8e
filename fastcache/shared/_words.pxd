# Declarations for other compiled modules: arrays of words that threads and processes share.

from cpython.buffer cimport Py_buffer
from libc.stdint cimport uint64_t


cdef const char *text_of(object text, size_t *length, str name) except NULL
cdef uint64_t word_from(object number, str name) except? 0


cdef class Words:
    cdef uint64_t *words
    cdef Py_ssize_t count
    cdef bint given         # the words are in `view`, and not in private memory
    cdef Py_buffer view

    cdef int map(self, Py_ssize_t count, object memory) except -1


cdef class Stripes(Words):
    cdef uint64_t *word_of(self, object key) except NULL
    cdef uint64_t *word_at(self, const char *key, size_t length) noexcept nogil


cdef class Counters(Words):
    cdef readonly tuple names
    cdef uint64_t *word_at(self, Py_ssize_t index) except NULL
