# cython: always_allow_keywords=False
"""WSGI callables in front of the gate, for requests of reverse proxies.

`Branch` separates the requests of an area from those of the application. `KnownAnswers` answers a
proxy whose client has a plain hit, if Python has allowed the same before: the same verify URL, for
the same principal. It leaves all other requests to Python, which alone decides them.
"""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp

from fastcache.shared._words cimport Counters
from latchkey.box._counters cimport count
from latchkey.check._check cimport ADMITTED, LIMITED, Check, Decision, Request, decide
from latchkey.check._gate cimport telling
from latchkey.check._limits cimport LimitOutcome, add_headers
from latchkey.native._text cimport has, is_str, item, plain, text_size
from latchkey.native._vector cimport (
    PyObject_Vectorcall,
    PyVectorcall_Call,
    call_by_vector,
    expected,
    is_wsgi_call,
    refuse_call,
    refuse_second_setup,
    unexpected,
)


cdef extern from "_gil.h":
    const bint FASTCACHE_GIL


cdef extern from "Python.h":
    # Declared without the reference counting that Cython would add.
    bint PyDict_CheckExact(PyObject *mapping) noexcept
    bint PySet_Contains(object collection, PyObject *key) except -1
    int set_item "PyDict_SetItem"(PyObject *mapping, object key, object value) except -1


cdef enum:
    MOST_URLS = 64
    MOST_NAMES = 1024           # of hosts, and of methods
    MOST_PRINCIPALS = 4096      # of each URL
    MOST_COST = 1_000_000

cdef str PRINCIPAL = "latchkey.principal"
cdef str RAW_URI = "RAW_URI"
cdef str ROUTED = "werkzeug.request"
# What the parser of the service adds to a request that has some header more than once.
cdef str REPEATED = "HTTP_(REPEATED)"


cdef inline object call(object application, PyObject **arguments):
    """Call a WSGI application, and return its response."""
    return PyObject_Vectorcall(<PyObject *>application, arguments, 2, NULL)


@cython.final
@cython.auto_pickle(False)
cdef class Branch:
    """A WSGI application in front of others: the raw target decides which one gets a request.

    `find` returns the application for a target that begins with `area`; `others` gets all other
    requests.
    """

    def __init__(self, str area not None, find, others, /):
        refuse_second_setup(self.called != NULL)
        if not area.isascii():
            raise ValueError("an area is ASCII")
        self.area = area
        self.find = find
        self.others = others
        # Assigned last: a partly initialised instance cannot be called.
        self.called = &branched

    def __call__(self, *arguments, **named):
        """Handle a WSGI call (PEP 3333)."""
        return PyVectorcall_Call(self, arguments, named)


cdef object branched(Branch branch, PyObject **arguments, size_t flagged, PyObject *names):
    """Handle a WSGI call (PEP 3333), called by PEP 590."""
    cdef PyObject *target = NULL
    cdef const char *text = NULL
    if not is_wsgi_call(flagged, names):
        return refuse_call()
    if expected(PyDict_CheckExact(arguments[0])):
        target = item(arguments[0], RAW_URI)
    if expected(target != NULL):
        text = plain(target)
    if (
        expected(text != NULL)
        and text_size(target) >= text_size(<PyObject *>branch.area)
        and memcmp(text, plain(<PyObject *>branch.area), text_size(<PyObject *>branch.area)) == 0
    ):
        return call(branch.find(<object>target), arguments)
    return call(branch.others, arguments)


@cython.final
@cython.auto_pickle(False)
cdef class KnownAnswers:
    """Answers hits of one kind of proxy that were allowed before, and passes on all other requests.

    What was allowed before is allowed again as long as the check admits the credential: the answer
    depends on nothing but the verify URL and the principal. Do not `learn` answers that depend on
    the original method, host or path.

    The URL also determines what a request takes from the limits of its key.
    """

    def __init__(
        self, undecided, admitted, Check check not None, *, tuple variables not None, named,
        compares_query, Counters counters not None, alone, allowed
    ):
        """`undecided` decides any request; `admitted` one whose credential `check` has admitted.

        `variables` are those of the environ with the original method, target and host. With
        `compares_query`, requests whose URL and target both have a query are left undecided.
        `named` is stored for the measurement of latency, and `allowed` counted in `counters`.
        """
        refuse_second_setup(self.called != NULL)
        self.undecided = undecided
        self.admitted = admitted
        self.check = check
        self.method, self.target, self.host = variables
        self.named = named
        self.compares_query = compares_query
        self.methods = set()
        self.hosts = set()
        self.urls = {}
        self.counters = counters
        self.block.words = counters.words
        self.block.alone = alone
        self.allowed = allowed
        if not 0 <= self.allowed < len(counters):
            raise ValueError("there is no such counter")
        self.called = &answered

    def __call__(self, *arguments, **named):
        """Handle a WSGI call (PEP 3333)."""
        return PyVectorcall_Call(self, arguments, named)

    def learn(
        self, dict environ not None, principal, str status not None, tuple headers not None, cost=0
    ):
        """Remember the answer to a request that was allowed; its method and host are valid.

        `headers` do not tell what is left of limits. `cost` is that of the URL; with 0, requests of
        keys with limits are left to Python.
        """
        cdef dict answers
        if not 0 <= cost <= MOST_COST:
            raise ValueError(f"a cost is 0 to {<int>MOST_COST}, not {cost}")
        url = environ[RAW_URI]
        for names, name in (
            (self.methods, environ[self.method]), (self.hosts, environ[self.host]),
        ):
            if len(names) >= MOST_NAMES:
                names.clear()
            names.add(name)
        answers, known_cost = self.urls.get(url, (None, None))
        if answers is None or known_cost != cost:
            if len(self.urls) >= MOST_URLS:
                self.urls.clear()
            answers = {}
            self.urls[url] = (answers, cost)
        if len(answers) >= MOST_PRINCIPALS:
            answers.clear()
        # The principal is stored, so no other one gets its id.
        answers[id(principal)] = (principal, status, headers)

    cdef tuple answers_for(self, PyObject *environ):
        """What is known of the URL, if the request is complete and valid; None otherwise."""
        cdef PyObject *url
        cdef PyObject *method
        cdef PyObject *target
        cdef PyObject *host
        cdef PyObject *answers
        cdef const char *text
        url = item(environ, RAW_URI)
        method = item(environ, self.method)
        target = item(environ, self.target)
        host = item(environ, self.host)
        if url == NULL or method == NULL or target == NULL or host == NULL:
            return None
        if not (is_str(url) and is_str(method) and is_str(target) and is_str(host)):
            return None
        text = plain(target)
        if text == NULL or text_size(target) == 0:
            return None
        # No header of the request is repeated.
        if has(environ, REPEATED):
            return None
        answers = item(<PyObject *>self.urls, <object>url)
        if answers == NULL:
            return None
        if not (PySet_Contains(self.methods, method) and PySet_Contains(self.hosts, host)):
            return None
        if self.compares_query and has_query(text, text_size(target)):
            text = plain(url)
            if text == NULL or has_query(text, text_size(url)):
                return None
        return <tuple>answers


cdef inline bint has_query(const char *text, Py_ssize_t size) noexcept:
    return memchr(text, c"?", <size_t>size) != NULL


cdef object answered(
    KnownAnswers known, PyObject **arguments, size_t flagged, PyObject *names
):
    """Handle a WSGI call (PEP 3333), called by PEP 590."""
    cdef Request request
    cdef Decision decision
    cdef tuple answers
    cdef PyObject *principal
    cdef PyObject *found
    cdef PyObject *handed[2]
    if not is_wsgi_call(flagged, names):
        return refuse_call()
    # Without the GIL, another thread could release an answer while it is read here.
    if unexpected(not FASTCACHE_GIL or not PyDict_CheckExact(arguments[0])):
        return call(known.undecided, arguments)
    set_item(arguments[0], ROUTED, known.named)
    answers = known.answers_for(arguments[0])
    if unexpected(answers is None):
        return call(known.undecided, arguments)
    request.cost = <uint64_t>answers[1]
    decision = decide(known.check, arguments[0], &request)
    if unexpected(decision != ADMITTED) and decision != LIMITED:
        return call(known.undecided, arguments)
    principal = item(arguments[0], PRINCIPAL)
    if expected(principal != NULL):
        found = item(<PyObject *>answers[0], <size_t>principal)
        if expected(found != NULL) and expected(
            <PyObject *>(<tuple>found)[0] == principal
        ):
            count(&known.block, known.allowed)
            entry = <tuple>found
            status = entry[1]
            # The server may change the list.
            headers = list(<tuple>entry[2])
            if unexpected(decision == LIMITED):
                add_headers(<LimitOutcome>request.limited, headers, known.check.as_x)
            handed[0] = <PyObject *>status
            handed[1] = <PyObject *>headers
            PyObject_Vectorcall(arguments[1], handed, 2, NULL)
            return []
    if decision == LIMITED:
        # What the request costs was taken here.
        start = telling(arguments[1], request.limited, known.check.as_x)
        handed[0] = arguments[0]
        handed[1] = <PyObject *>start
        return call(known.admitted, handed)
    return call(known.admitted, arguments)


cdef Branch _branch = Branch.__new__(Branch)
call_by_vector(Branch, <char *>&_branch.called - <char *><PyObject *>_branch)
cdef KnownAnswers _known = KnownAnswers.__new__(KnownAnswers)
call_by_vector(KnownAnswers, <char *>&_known.called - <char *><PyObject *>_known)
