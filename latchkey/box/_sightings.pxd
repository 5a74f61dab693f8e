# Uses, and where they come from, as the way of a hit counts and asks it.

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
    # Of milliseconds: 262.144 seconds. Less than half of what the table keeps an address for.
    SPAN_BITS = 18


cdef inline uint64_t count_use(uint64_t *row, int64_t now) noexcept nogil:
    """Count a use; when the one before it was."""
    cdef uint64_t before = load_relaxed(&row[LAST_USED])
    add_relaxed(&row[USES], 1)
    store_relaxed(&row[LAST_USED], <uint64_t>now)
    return before


cdef inline bint in_another_second(uint64_t before, uint64_t now) noexcept nogil:
    """Whether two times in milliseconds lie in different seconds, of 1,024 milliseconds."""
    return (before ^ now) >> 10 != 0


cdef class AddressSources:
    cdef readonly Tallies uses
    cdef bint forwarded         # whether proxies say where a request comes from


cdef inline uint64_t hash_of(dict environ, object name) except? 0:
    """The interpreter's hash, which no client can foresee; workers that were forked share it."""
    cdef PyObject *value = item(<PyObject *>environ, name)
    if value == NULL or not is_str(value):
        return 0
    return <uint64_t>PyObject_Hash(<object>value)


cdef inline int look(AddressSources sources, dict environ, uint64_t *row, uint64_t now) except -1:
    """Look at the first use in a second; `row` is that of the credential."""
    cdef uint64_t source = hash_of(environ, "REMOTE_ADDR") ^ (now >> SPAN_BITS) * ODD
    if sources.forwarded:
        source = source * ODD ^ hash_of(environ, "HTTP_X_FORWARDED_FOR")
    # An empty row has 0.
    source |= 1
    if load_relaxed(&row[FIRST_USED]) == 0:
        store_relaxed(&row[FIRST_USED], now)
    if load_relaxed(&row[SOURCE]) != source:
        if sources.record(environ, sources.uses.number_of(row), now):
            store_relaxed(&row[SOURCE], source)
    return 0
