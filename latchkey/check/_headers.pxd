# The headers of a credential in their plain form, as the compiled check reads them.

from cpython.object cimport PyObject
from libc.string cimport memcmp

from latchkey.credentials._proof cimport LOOKUP_SIZE, MARK_SIZE, SECRET_SIZE
from latchkey.native._text cimport has, is_str, item, plain, text_size
from latchkey.native._vector cimport expected, unexpected


cdef enum:
    BEARER_SIZE = 7         # "Bearer "


cdef inline const char *plain_of(PyObject *text, Py_ssize_t size) noexcept:
    """As `plain`, for a str with this number of characters."""
    if expected(is_str(text)) and expected(text_size(text) == size):
        return plain(text)
    return NULL


cdef inline bint is_bearer(const char *text) noexcept nogil:
    return expected((text[0] | 0x20) == c"b") and expected(
        memcmp(text + 1, b"earer ", BEARER_SIZE - 1) == 0
    )


cdef inline const char *plain_in(PyObject *environ, object name, Py_ssize_t size) except? NULL:
    """The same for the value of a header."""
    cdef PyObject *found = item(environ, name)
    if unexpected(found == NULL):
        return NULL
    return plain_of(found, size)


cdef inline const char *secret_in(PyObject *environ) except? NULL:
    """The secret that the headers present in a plain form; NULL for anything else.

    Headers that must be missing are checked first, by a function that cannot fail unnoticed.
    """
    cdef const char *key
    cdef const char *secret
    if expected(not has(environ, "HTTP_X_API_KEY")):
        if unexpected(has(environ, "HTTP_X_API_SECRET")):
            return NULL
        secret = plain_in(environ, "HTTP_AUTHORIZATION", BEARER_SIZE + SECRET_SIZE)
        if expected(secret != NULL) and expected(is_bearer(secret)):
            return secret + BEARER_SIZE
        return NULL
    if has(environ, "HTTP_AUTHORIZATION"):
        return NULL
    key = plain_in(environ, "HTTP_X_API_KEY", MARK_SIZE + LOOKUP_SIZE)
    secret = plain_in(environ, "HTTP_X_API_SECRET", SECRET_SIZE)
    if key == NULL or secret == NULL or memcmp(key, b"ak_", MARK_SIZE) != 0:
        return NULL
    if memcmp(key + MARK_SIZE, secret + MARK_SIZE, LOOKUP_SIZE) != 0:
        return NULL
    return secret
