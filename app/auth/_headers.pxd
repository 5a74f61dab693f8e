# Headers in their plainest form, as the compiled middleware reads them.

from cpython.object cimport PyObject
from libc.string cimport memcmp

from app.auth._entry cimport LOOKUP_SIZE


cdef extern from "Python.h":
    # Without the references that Cython would take and drop; NULL also where it raised.
    PyObject *item "PyDict_GetItemWithError"(dict mapping, object key) noexcept
    bint is_str "PyUnicode_CheckExact"(PyObject *text) noexcept
    bint is_ascii "PyUnicode_IS_COMPACT_ASCII"(PyObject *text) noexcept
    Py_ssize_t text_size "PyUnicode_GET_LENGTH"(PyObject *text) noexcept
    void *text_data "PyUnicode_DATA"(PyObject *text) noexcept
    bint has "PyDict_Contains"(dict mapping, object key) except -1


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


cdef inline const char *plain_in(dict environ, object name, Py_ssize_t size) except? NULL:
    """The same, of a header."""
    cdef PyObject *found = item(environ, name)
    if found == NULL:
        # What calls this looks whether that was raised.
        return NULL
    return plain_of(found, size)


cdef inline const char *secret_in(dict environ) except? NULL:
    """The one secret that the headers present in a plain form; NULL for anything else.

    What must be absent is asked for first, by what says by itself whether it failed.
    """
    cdef const char *key
    cdef const char *secret
    if not has(environ, "HTTP_X_API_KEY"):
        if has(environ, "HTTP_X_API_SECRET"):
            return NULL
        secret = plain_in(environ, "HTTP_AUTHORIZATION", BEARER_SIZE + SECRET_SIZE)
        if secret == NULL or not is_bearer(secret):
            return NULL
        return secret + BEARER_SIZE
    if has(environ, "HTTP_AUTHORIZATION"):
        return NULL
    key = plain_in(environ, "HTTP_X_API_KEY", MARK_SIZE + LOOKUP_SIZE)
    secret = plain_in(environ, "HTTP_X_API_SECRET", SECRET_SIZE)
    if key == NULL or secret == NULL or memcmp(key, b"ak_", MARK_SIZE) != 0:
        return NULL
    if memcmp(key + MARK_SIZE, secret + MARK_SIZE, LOOKUP_SIZE) != 0:
        return NULL
    return secret
