# Headers in their plainest form, as the compiled middleware reads them.

from cpython.exc cimport PyErr_Occurred
from cpython.object cimport PyObject
from libc.string cimport memcmp

from app.auth._entry cimport LOOKUP_SIZE


cdef extern from "Python.h":
    # Without the references that Cython would take and drop; NULL also where it raised.
    bint has "PyDict_Contains"(dict mapping, object key) except -1
    PyObject *item "PyDict_GetItemWithError"(dict mapping, object key) noexcept
    bint is_str "PyUnicode_CheckExact"(PyObject *text) noexcept
    bint is_ascii "PyUnicode_IS_COMPACT_ASCII"(PyObject *text) noexcept
    Py_ssize_t text_size "PyUnicode_GET_LENGTH"(PyObject *text) noexcept
    void *text_data "PyUnicode_DATA"(PyObject *text) noexcept


cdef enum:
    BEARER_SIZE = 7         # "Bearer "
    MARK_SIZE = 3           # "ak_", "sk_"
    SECRET_SIZE = 79


cdef inline const char *plain(PyObject *text) noexcept:
    """The characters of a str that is exactly that, and ASCII; NULL for anything else."""
    return <const char *>text_data(text) if is_str(text) and is_ascii(text) else NULL


cdef inline const char *plain_of(PyObject *text, Py_ssize_t size) noexcept:
    """The same, of a str of so many characters."""
    return plain(text) if is_str(text) and text_size(text) == size else NULL


cdef inline bint is_bearer(const char *text) noexcept nogil:
    return memcmp(text, b"Bearer ", BEARER_SIZE) == 0 or memcmp(text, b"bearer ", BEARER_SIZE) == 0


cdef inline int raise_if_failed() except -1:
    """After `item` found nothing: raise what it failed with, if it did."""
    return -1 if PyErr_Occurred() != NULL else 0


cdef inline const char *secret_in(dict environ) except? NULL:
    """The one secret that the headers present in a plain form; NULL for anything else."""
    cdef PyObject *found = item(environ, "HTTP_AUTHORIZATION")
    cdef PyObject *found_key
    cdef const char *key
    cdef const char *secret
    if found != NULL:
        secret = plain_of(found, BEARER_SIZE + SECRET_SIZE)
        if secret == NULL or not is_bearer(secret):
            return NULL
        if has(environ, "HTTP_X_API_KEY") or has(environ, "HTTP_X_API_SECRET"):
            return NULL
        return secret + BEARER_SIZE
    raise_if_failed()
    found_key = item(environ, "HTTP_X_API_KEY")
    if found_key == NULL:
        raise_if_failed()
        return NULL
    found = item(environ, "HTTP_X_API_SECRET")
    if found == NULL:
        raise_if_failed()
        return NULL
    key = plain_of(found_key, MARK_SIZE + LOOKUP_SIZE)
    secret = plain_of(found, SECRET_SIZE)
    if key == NULL or secret == NULL or memcmp(key, b"ak_", MARK_SIZE) != 0:
        return NULL
    if memcmp(key + MARK_SIZE, secret + MARK_SIZE, LOOKUP_SIZE) != 0:
        return NULL
    return secret
