# The open routes, as the compiled check reads them.

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcmp

from latchkey.native._text cimport is_str, item, plain, text_size
from latchkey.native._vector cimport expected, unexpected


cdef extern from "Python.h":
    # Declared without the reference counting that Cython would add.
    bint PySet_Contains(object collection, PyObject *key) except -1


cdef struct Open:
    uint64_t sizes          # a bit for each length of an open path
    uint64_t marks          # a bit for each second character of these prefixes, by its last bits
    PyObject *methods       # a dict: a set of methods for each open path, and MAYBE
    PyObject *areas         # a tuple of bytes: prefixes of the paths in open areas
    PyObject *prefixes      # the same for open rules with placeholders: only the router can decide
    PyObject *only          # the same for the parts outside of which all is open; NULL for no limit


cdef inline uint64_t mark_of(char character) noexcept nogil:
    return <uint64_t>1 << (<unsigned char>character & 63)


cdef inline tuple ascii_of(tuple paths):
    """The ASCII prefixes of paths. Other prefixes never give a certain result and are left out."""
    return tuple([path.encode() for path in paths if path.isascii()])


cdef inline Open open_routes_of(dict methods, tuple areas, tuple prefixes, tuple only) except *:
    """Build the structure; the caller keeps the arguments alive. `only` may be None."""
    cdef Open routes = Open(
        0, 0, <PyObject *>methods, <PyObject *>areas, <PyObject *>prefixes, NULL
    )
    if only is not None:
        routes.only = <PyObject *>only
    for path in methods:
        routes.sizes |= <uint64_t>1 << <int>min(len(path), 63)
    for area in areas + prefixes:
        # A shorter prefix may match any path.
        routes.marks |= mark_of((<const char *><bytes>area)[1]) if len(<bytes>area) > 1 else ~0
    return routes


cdef enum Side:
    UNCLEAR
    INSIDE
    OUTSIDE


cdef inline Side side_of(Open *routes, PyObject *environ) except *:
    """Whether a path is in the parts that are protected, if only parts are."""
    cdef PyObject *path = item(environ, "PATH_INFO")
    cdef const char *text
    cdef Py_ssize_t size
    if unexpected(path == NULL):
        return UNCLEAR
    text = plain(path)
    if unexpected(text == NULL):
        return UNCLEAR
    size = text_size(path)
    if is_within(text, size, <tuple>routes.only):
        return INSIDE
    # Routers treat repeated slashes as one, in different ways.
    return OUTSIDE if has_single_slashes(text, size) else UNCLEAR


cdef inline bint is_open(Open *routes, PyObject *environ, bint *certain) except -1:
    """Whether the route is open; `certain` is set unless only the router can decide."""
    cdef PyObject *path = item(environ, "PATH_INFO")
    cdef PyObject *method
    cdef PyObject *methods
    cdef const char *text
    cdef Py_ssize_t size
    if unexpected(path == NULL):
        return False
    text = plain(path)
    if unexpected(text == NULL):
        return False
    size = text_size(path)
    if unexpected(routes.sizes >> <int>min(size, 63) & 1):
        methods = item(routes.methods, <object>path)
        if methods != NULL:
            method = item(environ, "REQUEST_METHOD")
            if method == NULL or not is_str(method):
                return False
            if PySet_Contains(<object>methods, method):
                return True
            # latchkey.check.open_routes.MAYBE
            if PySet_Contains(<object>methods, <PyObject *>""):
                return False
    certain[0] = True
    if expected(size > 1) and expected(routes.marks & mark_of(text[1]) == 0):
        return False
    for area in <tuple>routes.areas:
        if begins(text, size, <bytes>area):
            return True
    for prefix in <tuple>routes.prefixes:
        if begins(text, size, <bytes>prefix):
            certain[0] = False
            break
    return False


cdef inline bint is_within(const char *text, Py_ssize_t size, tuple parts) noexcept:
    """Whether a path begins with one of these parts, or is one without its final slash."""
    for part in parts:
        if begins(text, size, <bytes>part):
            return True
        if size == len(<bytes>part) - 1 and memcmp(text, <const char *><bytes>part, size) == 0:
            return True
    return False


cdef inline bint has_single_slashes(const char *text, Py_ssize_t size) noexcept nogil:
    """Whether a path begins with a slash, and has no repeated ones."""
    cdef Py_ssize_t index
    if size == 0 or text[0] != c"/":
        return False
    for index in range(size - 1):
        if text[index] == c"/" and text[index + 1] == c"/":
            return False
    return True


cdef inline bint begins(const char *text, Py_ssize_t size, bytes beginning) noexcept:
    return size >= len(beginning) and memcmp(
        text, <const char *>beginning, <size_t>len(beginning)
    ) == 0
