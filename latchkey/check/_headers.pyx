# cython: always_allow_keywords=False
"""Header checks in compiled code; the .pxd file reads the plain forms of a credential.

Every refusal checks all header names for the pair scheme, and refusals come in floods.
"""

from cpython.object cimport PyObject
from libc.string cimport memcmp

from latchkey.native._text cimport is_ascii, text_data, text_size


cdef extern from "Python.h":
    bint PyUnicode_Check(object text) noexcept


cdef enum:
    FAMILY_SIZE = 11


def has_pair_family(environ):
    """Whether any name in a WSGI environ begins with HTTP_X_API_."""
    cdef PyObject *text
    for name in environ:
        text = <PyObject *>name
        if (
            PyUnicode_Check(name)
            and is_ascii(text)
            and text_size(text) >= FAMILY_SIZE
            and memcmp(text_data(text), b"HTTP_X_API_", FAMILY_SIZE) == 0
        ):
            return True
    return False
