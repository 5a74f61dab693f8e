# Declarations for other compiled modules: rows of counters.

from libc.stdint cimport uint64_t

from fastcache.shared._words cimport Counters, Words


cdef class Tallies(Words):
    cdef readonly tuple fields
    cdef readonly Py_ssize_t rows
    cdef uint64_t width         # words in a row
    cdef uint64_t backed        # how many bytes are backed, as last read from `bound`
    cdef uint64_t *bound        # the shared word with that number; NULL if all bytes are backed
    cdef Counters bound_word    # owns the memory of `bound`

    cdef uint64_t *row_at(self, uint64_t row) noexcept nogil
    cdef uint64_t number_of(self, uint64_t *words) noexcept nogil
    cdef bint change(
        self, object row, Py_ssize_t field, object number, str name, int change
    ) except -1
    cdef uint64_t *word_at(self, object row, Py_ssize_t field) except? NULL
    cdef uint64_t bounded(self) noexcept nogil
    cdef uint64_t read_bound(self) noexcept nogil
    cdef uint64_t find_changes(
        self, const uint64_t *since, uint64_t known, uint64_t first, uint64_t each,
        uint64_t *row, uint64_t end, uint64_t *found, uint64_t room,
    ) noexcept nogil
