# cython: always_allow_keywords=False
"""Whether a request has any header of the pair scheme's family.

Compiled because every refusal asks it of every header, and refusals come in floods.
"""

from libc.string cimport memcmp


cdef extern from "Python.h":
    bint PyUnicode_Check(object text) noexcept
    bint PyUnicode_IS_COMPACT_ASCII(object text) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(object text) noexcept
    const void *text_data "PyUnicode_DATA"(object text) noexcept


cdef enum:
    FAMILY_SIZE = 11


def has_pair_family(environ):
    """Whether a name in a WSGI environ begins with HTTP_X_API_."""
    for name in environ:
        if (
            PyUnicode_Check(name)
            and PyUnicode_IS_COMPACT_ASCII(name)
            and PyUnicode_GET_LENGTH(name) >= FAMILY_SIZE
            and memcmp(text_data(name), b"HTTP_X_API_", FAMILY_SIZE) == 0
        ):
            return True
    return False
