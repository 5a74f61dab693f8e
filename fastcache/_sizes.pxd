# Declarations for other compiled modules: sizes with exact sums.

from libc.stdint cimport uint64_t


cdef extern from "_sizes.h":
    const int SIZE_WORDS "FASTCACHE_SIZE_WORDS"
    ctypedef struct Size "fastcache_size":
        uint64_t words[4]
    Size size_of "fastcache_size_of"(uint64_t whole) noexcept nogil
    void size_add "fastcache_size_add"(Size *total, const Size *size) noexcept nogil
    void size_take "fastcache_size_take"(Size *total, const Size *size) noexcept nogil
    bint size_lacks "fastcache_size_lacks"(
        const Size *total, const Size *before, const Size *size, const Size *capacity
    ) noexcept nogil
    bint size_exceeds "fastcache_size_exceeds"(Size left, Size right) noexcept nogil
    double size_roughly "fastcache_size_roughly"(Size size) noexcept nogil


cdef int read_size(object measured, Size *size) except -1
cdef int read_capacity(object maxsize, Size *capacity) except -1
cdef object exact_number(Size size)
cdef object units_of(Size size)
cdef object rounded_number(object units)
