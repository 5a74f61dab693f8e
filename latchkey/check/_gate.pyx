# cython: always_allow_keywords=False
"""The gate in front of an application: a WSGI callable that runs the check, then the policy.

Requests that the check admits are passed to the application. Undecided requests go to the policy,
which is Python: `examine(environ, start_response)` returns None to admit a request, or the body of
a response that it has started. `examine_unknown(environ, start_response, secret, digest)` does the
same for a protected route with one secret that no cache has, and whose form is not checked yet.

For a request that took from limits, `environ["latchkey.limits"]` is the LimitOutcome, whether the
check or the policy admitted it. The gate then adds the headers of the outcome to the response.
"""

cimport cython
from cpython.object cimport PyObject

from fastcache.shared._digest cimport DIGEST_SIZE
from latchkey.check._check cimport ADMITTED, LIMITED, UNKNOWN, Check, Decision, Request, decide
from latchkey.check._limits cimport LimitOutcome, add_headers
from latchkey.credentials._proof cimport SECRET_SIZE
from latchkey.native._text cimport item
from latchkey.native._vector cimport (
    PyObject_Vectorcall,
    PyVectorcall_Call,
    PyVectorcall_NARGS,
    call_by_vector,
    expected,
    is_wsgi_call,
    refuse_call,
    refuse_second_setup,
    unexpected,
)

from types import MethodType

cdef str LIMITS = "latchkey.limits"


@cython.final
@cython.freelist(16)
@cython.auto_pickle(False)
cdef class TellingStart:
    """A start_response that adds what is left of limits, at the moment when the response starts."""

    def __call__(self, *arguments, **named):
        """Start a response (PEP 3333)."""
        return PyVectorcall_Call(self, arguments, named)


cdef object started(TellingStart start, PyObject **arguments, size_t flagged, PyObject *names):
    """Start a response (PEP 3333), called by PEP 590."""
    cdef PyObject *passed[3]
    cdef Py_ssize_t count = PyVectorcall_NARGS(flagged)
    if names != NULL or not 2 <= count <= 3:
        raise TypeError("start_response takes a status, headers, and optionally exc_info")
    # The application may use its list again.
    cdef list headers = list(<object>arguments[1])
    add_headers(start.outcome, headers, start.as_x)
    passed[0] = arguments[0]
    passed[1] = <PyObject *>headers
    passed[2] = arguments[2] if count == 3 else NULL
    return PyObject_Vectorcall(<PyObject *>start.start_response, passed, <size_t>count, NULL)


cdef TellingStart telling(PyObject *start_response, PyObject *outcome, bint as_x):
    cdef TellingStart start = TellingStart.__new__(TellingStart)
    start.called = &started
    start.start_response = <object>start_response
    start.outcome = <LimitOutcome?>outcome
    start.as_x = as_x
    return start


cdef object pass_limited(Gate gate, PyObject *environ, PyObject *start_response, PyObject *outcome):
    """Call the application for a request that took from limits."""
    start = telling(start_response, outcome, gate.check.as_x)
    return pass_on(gate, environ, <PyObject *>start)


@cython.final
@cython.auto_pickle(False)
cdef class Gate:
    """A WSGI application that passes admitted requests to another one."""

    def __init__(self, application, Check check not None, policy, /):
        """`application` gets the admitted requests; `policy` decides what `check` does not."""
        refuse_second_setup(self.called != NULL)
        # The parts of a bound method are stored, so that no call has to separate them.
        bound = type(application) is MethodType
        self.function = application.__func__ if bound else application
        self.bound = bound
        self.first = application.__self__ if bound else None
        self.check = check
        self.policy = policy
        # Assigned last: a partly initialised gate cannot be called.
        self.called = &called

    def __call__(self, *arguments, **named):
        """Handle a WSGI call (PEP 3333)."""
        return PyVectorcall_Call(self, arguments, named)


cdef inline object pass_on(Gate gate, PyObject *environ, PyObject *start_response):
    """Call the application and return its response."""
    cdef PyObject *arguments[3]
    arguments[0] = <PyObject *>gate.first
    arguments[1] = environ
    arguments[2] = start_response
    return PyObject_Vectorcall(
        <PyObject *>gate.function, arguments + 1 - gate.bound, <size_t>(2 + gate.bound), NULL
    )


cdef object examined(
    Gate gate, object environ, object start_response, Request *request, Decision decision
):
    """The policy's response, or the application's if the policy admits the request."""
    cdef PyObject *outcome
    if decision == UNKNOWN:
        refusal = gate.policy.examine_unknown(
            environ, start_response, request.secret[:SECRET_SIZE].decode("ascii"),
            request.digest[:DIGEST_SIZE],
        )
    else:
        refusal = gate.policy.examine(environ, start_response)
    if refusal is not None:
        return refusal
    outcome = item(<PyObject *>environ, LIMITS)
    if unexpected(outcome != NULL):
        return pass_limited(gate, <PyObject *>environ, <PyObject *>start_response, outcome)
    return pass_on(gate, <PyObject *>environ, <PyObject *>start_response)


cdef object called(Gate gate, PyObject **arguments, size_t flagged, PyObject *names):
    """Handle a WSGI call (PEP 3333), called by PEP 590."""
    cdef Request request
    cdef Decision decision
    if not is_wsgi_call(flagged, names):
        return refuse_call()
    request.cost = gate.check.cost
    decision = decide(gate.check, arguments[0], &request)
    if expected(decision == ADMITTED):
        return pass_on(gate, arguments[0], arguments[1])
    if expected(decision == LIMITED):
        return pass_limited(gate, arguments[0], arguments[1], request.limited)
    return examined(gate, <object>arguments[0], <object>arguments[1], &request, decision)


cdef TellingStart _start = TellingStart.__new__(TellingStart)
call_by_vector(TellingStart, <char *>&_start.called - <char *><PyObject *>_start)
cdef Gate _specimen = Gate.__new__(Gate)
call_by_vector(Gate, <char *>&_specimen.called - <char *><PyObject *>_specimen)
