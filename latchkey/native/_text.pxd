# Strings and dicts of CPython, without the reference counting that Cython would add.

from cpython.object cimport PyObject

from libc.stdint cimport uint64_t

# The C code below uses latchkey_expected from _vector.pxd.
from latchkey.native._vector cimport expected


cdef extern from "Python.h":
    # Borrowed references; NULL if there is none.
    PyObject *item "PyDict_GetItemWithError"(PyObject *mapping, object key) except? NULL
    bint is_str "PyUnicode_CheckExact"(PyObject *text) noexcept
    bint is_ascii "PyUnicode_IS_COMPACT_ASCII"(PyObject *text) noexcept
    Py_ssize_t text_size "PyUnicode_GET_LENGTH"(PyObject *text) noexcept
    void *text_data "PyUnicode_DATA"(PyObject *text) noexcept
    bint has "PyDict_Contains"(PyObject *mapping, object key) except -1


cdef extern from *:
    """
    /* The characters of an ASCII str that is no subclass; NULL for anything else. CPython's own
     * functions would determine again where the characters are. */
    static inline const char *latchkey_plain(PyObject *text)
    {
        if (latchkey_expected(PyUnicode_CheckExact(text)) &&
            latchkey_expected(PyUnicode_IS_COMPACT(text)) &&
            latchkey_expected(PyUnicode_IS_ASCII(text))) {
            return (const char *)((PyASCIIObject *)text + 1);
        }
        return NULL;
    }
    """
    const char *plain "latchkey_plain"(PyObject *text) noexcept


cdef inline char *put_number(char *to, uint64_t number) noexcept:
    """Write a number in decimal; returns the end."""
    cdef char digits[20]
    cdef int count = 0
    while True:
        digits[count] = <char>(48 + number % 10)
        count += 1
        number //= 10
        if number == 0:
            break
    while count > 0:
        count -= 1
        to[0] = digits[count]
        to += 1
    return to
