# cython: always_allow_keywords=False
"""How long requests took, by endpoint and status: histograms of one worker in shared memory.

A worker writes to its own memory under its own lock. The metrics page reads the memory of all
workers. The memory is an array of 64-bit words:

- SERIES + 1 series, each of WIDTH words: the buckets' counts, then the sum in nanoseconds.
- A directory with an entry of NAMED words for each series: the status in the upper half of the
  first word and the length of the endpoint in the lower half, then the endpoint in UTF-8.

The first word of an entry is written last, so an entry that a killed process left incomplete is
ignored. Series 0 counts the requests for which there was no free series.

The endpoint is read from the request object that werkzeug stores in the environ.
"""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t, uintptr_t
from libc.string cimport memcpy, memset

from latchkey.native._text cimport item
from latchkey.native._vector cimport expected
from latchkey.native._words cimport load, load_relaxed, store

import threading


cdef enum:
    SERIES = 128
    WIDTH = BUCKETS + 1
    NAMED = 8
    DIRECTORY = (SERIES + 1) * WIDTH
    WORDS = DIRECTORY + (SERIES + 1) * NAMED
    NAME_SIZE = (NAMED - 1) * 8

LATENCY_BOUNDS = tuple([BOUNDS[index] for index in range(BUCKETS - 1)])
LATENCY_SIZE = WORDS * 8

cdef str REQUEST = "werkzeug.request"


@cython.final
@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class Statuses:
    """The series of one endpoint, by status."""


@cython.final
@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class Latencies:
    """The histograms in `memory`, LATENCY_SIZE bytes, 8-byte aligned.

    Counts that are already there are kept. `alone`: no other process writes to the memory.
    """

    def __init__(self, memory, *, alone=False):
        cdef unsigned char[::1] view = memory
        if view.shape[0] < WORDS * 8 or <uintptr_t>&view[0] % 8 != 0:
            raise ValueError(f"memory must have {WORDS * 8} bytes, 8-byte aligned")
        self.memory = view
        self.words = <uint64_t *>&view[0]
        self.alone = alone
        self.lock = threading.Lock()
        self.endpoints = {}
        memset(self.answered, 0, sizeof(self.answered))
        self.rules = [None] * PLACES
        for index in range(1, SERIES + 1):
            named = self.name_at(index)
            if named is not None:
                self.statuses_of(named[0]).index[<int>named[1] - 100] = index

    def series(self):
        """`{(endpoint, status): counts}` of all observations, where counts has `WIDTH` numbers.

        The numbers are the buckets up to each of LATENCY_BOUNDS, the bucket above the last bound,
        and the sum in nanoseconds. Endpoint None counts unrouted requests; ("", 0) counts requests
        for which there was no free series.
        """
        cdef uint64_t *words
        found = {}
        for index in range(SERIES + 1):
            named = ("", 0) if index == 0 else self.name_at(index)
            if named is None:
                continue
            words = self.words + <int>index * WIDTH
            found[named] = tuple([load_relaxed(&words[i]) for i in range(WIDTH)])
        return found

    def observe(self, endpoint, int status, uint64_t duration):
        """Count one answer that took `duration` nanoseconds."""
        observe(self.alone, self.words + self.index_of(endpoint, status) * WIDTH, duration)

    cdef tuple name_at(self, int index):
        """The endpoint and the status of a series; None if the series is unnamed."""
        cdef uint64_t *named = self.words + DIRECTORY + index * NAMED
        cdef uint64_t first = load(named)
        cdef uint64_t status = first >> 32
        cdef uint64_t length = first & 0xFFFFFFFF
        if not 100 <= status < 600 or length > <uint64_t>NAME_SIZE:
            return None
        name = (<char *>(named + 1))[:<Py_ssize_t>length].decode("utf-8", "replace")
        return (name or None, status)

    cdef Statuses statuses_of(self, object endpoint):
        cdef PyObject *found = item(<PyObject *>self.endpoints, endpoint)
        if found != NULL:
            return <Statuses>found
        return self.endpoints.setdefault(endpoint, Statuses.__new__(Statuses))

    cdef uint64_t index_of(self, object endpoint, int status) except? 0:
        cdef PyObject *found
        cdef uint64_t index
        if not 100 <= status < 600:
            return 0
        found = item(<PyObject *>self.endpoints, endpoint)
        if found != NULL:
            index = (<Statuses>found).index[status - 100]
            if index != 0:
                return index
        return self.add_series(endpoint, status)

    cdef uint64_t add_series(self, object endpoint, int status) except? 0:
        """Name a new series and return its index; 0 if there is no free series."""
        cdef uint64_t *named
        cdef uint64_t index
        cdef Statuses statuses
        cdef bytes text = b"" if endpoint is None else endpoint.encode()
        if len(text) > <Py_ssize_t>NAME_SIZE:
            return 0
        with self.lock:
            # There are only as many endpoints as routes. One is stored only if it gets a series.
            for index in range(1, <uint64_t>SERIES + 1):
                named = self.words + DIRECTORY + index * NAMED
                name = self.name_at(<int>index)
                if name is None:
                    memcpy(named + 1, <const char *>text, len(text))
                    store(named, (<uint64_t>status << 32) | <uint64_t>len(text))
                elif name != (endpoint, status):
                    continue
                statuses = self.statuses_of(endpoint)
                statuses.index[status - 100] = <unsigned char>index
                return index
        return 0

    cdef uint64_t *add_rule(self, object rule, int status, uint64_t place) except NULL:
        """The series of one of werkzeug's routes. Later requests find it in `answered`."""
        endpoint = rule.endpoint
        if type(endpoint) is not str:
            endpoint = None
        cdef uint64_t *series = self.words + self.index_of(endpoint, status) * WIDTH
        if FASTCACHE_GIL:
            # Released only when the place is reused: destroying a route may run Python code.
            former = self.rules[place]
            self.rules[place] = rule
            self.answered[place] = Answered(<PyObject *>rule, status, series)
            del former
        return series


cdef uint64_t *series_of(
    Latencies latencies, PyObject *environ, int status
) except NULL:
    """The series of a request that is being answered with `status`."""
    cdef PyObject *request = item(environ, REQUEST)
    cdef uint64_t place
    cdef Answered *answered
    if expected(request != NULL):
        rule = getattr(<object>request, "url_rule", None)
        if expected(rule is not None):
            # The endpoint of a route is looked up once.
            place = (<uintptr_t><PyObject *>rule >> 4 ^ <uint64_t>status) % PLACES
            answered = &latencies.answered[place]
            if (
                FASTCACHE_GIL
                and expected(answered.rule == <PyObject *>rule)
                and expected(answered.status == <uint64_t>status)
            ):
                return answered.series
            return latencies.add_rule(rule, status, place)
    return latencies.words + latencies.index_of(None, status) * WIDTH
