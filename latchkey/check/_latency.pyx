# cython: always_allow_keywords=False
"""Request latency: the outermost WSGI callable, which counts and measures requests.

It wraps any WSGI application and does not depend on the check. It measures the time until the
application has returned and the response has started.
"""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from fastcache._shard cimport fastcache_give
from fastcache.shared._words cimport Counters
from latchkey.box._counters cimport FINISHED, STARTED, count
from latchkey.box._latencies cimport FASTCACHE_GIL, Latencies, observe, series_of
from latchkey.native._clock cimport CLOCK_MONOTONIC, nanoseconds
from latchkey.native._text cimport plain, text_size
from latchkey.native._vector cimport (
    PyObject_Vectorcall,
    PyVectorcall_Call,
    PyVectorcall_NARGS,
    call_by_vector,
    expected,
    is_wsgi_call,
    raise_pending,
    refuse_call,
    refuse_second_setup,
    unexpected,
)


cdef extern from "Python.h":
    Py_ssize_t reference_count "Py_REFCNT"(object counted) noexcept
    # NULL if the call raised.
    const size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    PyObject *call_unraised "PyObject_Vectorcall"(
        PyObject *callable, PyObject **arguments, size_t flagged, PyObject *names
    ) noexcept


cdef inline Watch new_watch(Latencies latencies):
    cdef Watch made = Watch.__new__(Watch)
    made.latencies = latencies
    return made


cdef inline void begin(
    Watch watching, PyObject *environ, PyObject *start_response, uint64_t start
) noexcept:
    """Start measuring a request that arrived at `start`."""
    watching.called = start_watched
    watching.environ = <object>environ
    watching.start_response = <object>start_response
    watching.start = start


cdef inline void end(Watch watching) noexcept:
    """Record that the application returned, and observe the time if the response has started."""
    watching.returned = True
    if expected(watching.series != NULL):
        observe(
            watching.latencies.alone, watching.series,
            nanoseconds(CLOCK_MONOTONIC) - watching.start,
        )


cdef inline bint reset_unused(Watch watching) noexcept:
    """Reset a watch for the next request; False if another object still refers to it."""
    if not expected(FASTCACHE_GIL and reference_count(watching) == 1):
        return False
    # Until the next request, the watch cannot be called.
    watching.called = NULL
    watching.series = NULL
    watching.returned = False
    watching.environ = None
    watching.start_response = None
    return True


# Tracked by the garbage collector: an application may store it in the environ, which is a cycle.
@cython.final
@cython.freelist(64)
@cython.auto_pickle(False)
cdef class Watch:
    """WSGI's start_response, which records the status and the time of the request."""

    def __call__(self, *arguments, **named):
        return PyVectorcall_Call(self, arguments, named)


cdef int fail(Watch watching) except -1:
    """Count an application that raised: the server answers with 500."""
    watching.series = series_of(watching.latencies, <PyObject *>watching.environ, 500)
    end(watching)
    return 0


cdef PyObject *status_named(PyObject **arguments, tuple names) except? NULL:
    """The status among keyword arguments, which PEP 3333 forbids but some callers use."""
    for index, name in enumerate(names):
        if name == "status":
            return arguments[<Py_ssize_t>index]
    return NULL


cdef object start_watched(
    Watch watching, PyObject **arguments, size_t flagged, PyObject *names
):
    """The call of a Watch, by PEP 590: passes its arguments to the server's start_response."""
    cdef const char *digits = NULL
    cdef PyObject *status = NULL
    cdef int number = 0
    cdef bint late = unexpected(watching.returned) and watching.series == NULL
    if expected(PyVectorcall_NARGS(flagged) > 0):
        status = arguments[0]
    elif names != NULL:
        status = status_named(arguments, <tuple>names)
    if expected(status != NULL):
        digits = plain(status)
    if expected(digits != NULL) and expected(text_size(status) >= 3):
        number = (digits[0] - 48) * 100 + (digits[1] - 48) * 10 + digits[2] - 48
    watching.series = series_of(watching.latencies, <PyObject *>watching.environ, number)
    if unexpected(late):
        # A generator starts its response when the first part of it is read.
        end(watching)
    return PyObject_Vectorcall(
        <PyObject *>watching.start_response, arguments, flagged, names
    )


@cython.final
@cython.auto_pickle(False)
cdef class Latency:
    """A WSGI application that measures the latencies of another one."""

    def __init__(
        self, application, Latencies latencies not None, Counters counters not None, alone, /
    ):
        """`counters` is the worker's block; `alone`: no other process writes to it."""
        refuse_second_setup(self.called != NULL)
        self.application = application
        self.latencies = latencies
        self.counters = counters
        self.block.words = counters.words
        self.block.alone = alone
        # Assigned last: a partly initialised instance cannot be called.
        self.called = &called

    def __call__(self, *arguments, **named):
        """Handle a WSGI call (PEP 3333)."""
        return PyVectorcall_Call(self, arguments, named)


cdef object failed(Watch watching):
    """Count a failure, and raise the application's exception."""
    try:
        raise_pending()
    except BaseException:
        fail(watching)
        raise


cdef object called(Latency latency, PyObject **arguments, size_t flagged, PyObject *names):
    """Handle a WSGI call (PEP 3333), called by PEP 590."""
    cdef Watch watching
    cdef PyObject *handed[3]
    cdef PyObject *answered
    if not is_wsgi_call(flagged, names):
        return refuse_call()
    watching = latency.spare
    if expected(FASTCACHE_GIL and watching is not None):
        latency.spare = None
    else:
        watching = new_watch(latency.latencies)
    begin(watching, arguments[0], arguments[1], nanoseconds(CLOCK_MONOTONIC))
    # The first place is reserved for the callee, which may insert an argument there (`self`).
    handed[1] = arguments[0]
    handed[2] = <PyObject *>watching
    # Nothing between here and the count of FINISHED can raise.
    count(&latency.block, STARTED)
    # Called without a try statement, which would cost time in each request.
    answered = call_unraised(
        <PyObject *>latency.application, handed + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL
    )
    count(&latency.block, FINISHED)
    if unexpected(answered == NULL):
        return failed(watching)
    end(watching)
    if expected(reset_unused(watching)):
        latency.spare = watching
    return fastcache_give(answered)


cdef Watch _watch = Watch.__new__(Watch)
call_by_vector(Watch, <char *>&_watch.called - <char *><PyObject *>_watch)
cdef Latency _latency = Latency.__new__(Latency)
call_by_vector(Latency, <char *>&_latency.called - <char *><PyObject *>_latency)
