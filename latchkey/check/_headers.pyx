# cython: always_allow_keywords=False
"""Headers, as compiled code reads them: the plain forms of a credential are in the .pxd file.

Whether a request has any header of the pair scheme's family is asked by every refusal of every
header, and refusals come in floods.
"""

from cpython.object cimport PyObject
from libc.string cimport memcmp

from latchkey.native._text cimport is_ascii, text_data, text_size


cdef extern from "Python.h":
    bint PyUnicode_Check(object text) noexcept


cdef enum:
    FAMILY_SIZE = 11


def has_pair_family(environ):
    """Whether a name in a WSGI environ begins with HTTP_X_API_."""
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
