# Counts of uses and checks of their source addresses, as the path of a cache hit needs them.

from cpython.object cimport PyObject, PyObject_Hash
from libc.stdint cimport int64_t, uint64_t

from fastcache.shared._tallies cimport Tallies
from latchkey.box._counters cimport FIRST_USED, LAST_USED, SOURCE, USES
from latchkey.native._text cimport is_str, item
from latchkey.native._words cimport add_relaxed, load_relaxed, store_relaxed


cdef extern from *:
    """
    #define LATCHKEY_ODD UINT64_C(0x9E3779B97F4A7C15)
    """
    const uint64_t ODD "LATCHKEY_ODD"


cdef enum:
    # In milliseconds: 262.144 seconds, less than half of the time that the table keeps an address.
    SPAN_BITS = 18


cdef inline uint64_t count_use(uint64_t *row, int64_t now) noexcept nogil:
    """Count a use; return the time of the use before it."""
    cdef uint64_t before = load_relaxed(&row[LAST_USED])
    add_relaxed(&row[USES], 1)
    store_relaxed(&row[LAST_USED], <uint64_t>now)
    return before


cdef inline bint in_another_second(uint64_t before, uint64_t now) noexcept nogil:
    """Whether two times in milliseconds lie in different periods of 1,024 milliseconds."""
    return (before ^ now) >> 10 != 0


cdef class AddressSources:
    cdef readonly Tallies uses
    cdef bint forwarded         # whether proxies forward the client's address


cdef inline uint64_t hash_of(dict environ, object name) except? 0:
    """The interpreter's hash: clients cannot predict it, and forked workers share it."""
    cdef PyObject *value = item(<PyObject *>environ, name)
    if value == NULL or not is_str(value):
        return 0
    return <uint64_t>PyObject_Hash(<object>value)


cdef inline int check_source(
    AddressSources sources, dict environ, uint64_t *row, uint64_t now
) except -1:
    """Record the source of the first use in a second if it changed; `row` is the credential's."""
    cdef uint64_t source = hash_of(environ, "REMOTE_ADDR") ^ (now >> SPAN_BITS) * ODD
    if sources.forwarded:
        source = source * ODD ^ hash_of(environ, "HTTP_X_FORWARDED_FOR")
    # 0 marks an empty row.
    source |= 1
    if load_relaxed(&row[FIRST_USED]) == 0:
        store_relaxed(&row[FIRST_USED], now)
    if load_relaxed(&row[SOURCE]) != source:
        if sources.record(environ, sources.uses.number_of(row), now):
            store_relaxed(&row[SOURCE], source)
    return 0
