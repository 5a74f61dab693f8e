# cython: always_allow_keywords=False
"""The check on a hit, compiled: from the environ to the application in one go.

Only what is certain is decided here: an open route, and a credential in its plainest form whose
entry is fresh, not revoked, not expired, and has the digest of the secret that was presented. All
else (other forms, malformed values, misses, refusals) goes to `examine`, which decides it in
Python by the same rules. So this lets through what that would let through, and refuses nothing.

The form of a secret is not looked at beyond its length: what has the digest of the registered
secret is that secret. The caches are asked, and the digest is taken and compared, for a wrong
secret as for a right one, and whether or not its key is known. What comes again soon is found
without the caches, in a small table of what was let through last (_recent.pyx).
"""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from app.auth._clock cimport (
    CLOCK_MONOTONIC,
    CLOCK_REALTIME_COARSE,
    has_expired,
    is_running,
    milliseconds,
    nanoseconds,
)
from app.auth._entry cimport DIGEST_AT, LOOKUP_SIZE, RECORD_HEAD, Entry, entry_of_record
from app.auth._headers cimport MARK_SIZE, SECRET_SIZE, secret_in, text_data
from app.auth._latency cimport FASTCACHE_GIL, Watch, begin, end, fail, let_go, new_watch
from app.auth._recent cimport Place, Recent, pair_in
from app.auth._routes cimport ascii_of, is_open, open_routes_of
from app.auth._sightings cimport SOURCE, count_use, in_another_second, look
from app.auth._vector cimport (
    PyObject_Vectorcall,
    PyVectorcall_Call,
    PyVectorcall_NARGS,
    call_by_vector,
    expected,
    raise_pending,
    raise_type_error,
    unexpected,
)
from fastcache._digest cimport DIGEST_SIZE, fastcache_digest, fastcache_equal_digests
from fastcache._shard cimport fastcache_give, fastcache_prefetch
from fastcache._store cimport lookup

from types import MethodType

from app.auth.counts import Count


cdef extern from "Python.h":
    # Without the references that Cython would take and drop.
    object new_text "PyUnicode_New"(Py_ssize_t size, Py_UCS4 largest)
    bint PyDict_CheckExact(PyObject *mapping) noexcept
    int set_item "PyDict_SetItem"(PyObject *mapping, PyObject *key, PyObject *value) except -1


ctypedef PyObject *(*Unraised)(HitPath, PyObject *, PyObject *, Presented *, uint64_t) noexcept


cdef extern from "_atomics.h":
    uint64_t fastcache_load(uint64_t *word) noexcept nogil


cdef extern from "_fixed_hash.h":
    uint64_t fastcache_fixed_hash(const char *key, size_t length) noexcept nogil


cdef enum:
    SLOT_SIZE = 4096        # the longest record that is read from the shared cache

if (AUTHENTICATED, OPEN, CACHE_HIT, SHARED_HIT, STARTED, FINISHED) != tuple(Count)[:6]:
    raise ImportError("counters have other places: say so in _hit.pxd")

cdef str PRINCIPAL = "latchkey.principal"
cdef unsigned char[DIGEST_SIZE] NO_DIGEST


@cython.auto_pickle(False)
cdef class HitPath:
    """The part of the middleware that is compiled; a subclass decides what is not decided here.

    `examine(environ, start_response)` returns None to go on to the application, or the body of
    an answer that it started. `examine_unknown(environ, start_response, secret, digest)` does
    so for a protected route and one secret, not yet known to be well-formed, that no cache has.
    """

    def __init__(self, wsgi_app, authenticator, *, known, open_routes, latencies, sightings, waits):
        """`known` is the cache of entries by lookup key, None to decide nothing here, which one
        that `waits` does not either before `decide` is called.

        Once only: what a request that is under way reads is not replaced.
        """
        if self.called != NULL:
            raise RuntimeError("a middleware is set up once")
        # A method's parts, or calling it would take them apart each time.
        bound = type(wsgi_app) is MethodType
        self.function = wsgi_app.__func__ if bound else wsgi_app
        self.bound = bound
        self.first = wsgi_app.__self__ if bound else None
        self.known = known
        self.decides = known is not None and not waits
        self.recent = Recent(0 if known is None else int(known.maxsize))
        self.pair_mask = self.recent.pairs - 1
        self.l2 = authenticator.l2
        self.digest = authenticator.digest
        self.key = self.digest.key
        self.stripes = authenticator.shared.stripes
        self.stripe_words = self.stripes.words
        self.stripe_mask = <uint64_t>(self.stripes.count - 1)
        self.uses = authenticator.shared.uses
        self.count_use = authenticator.shared.count_use
        self.counters = authenticator.counters
        self.counts = self.counters.words
        self.alone = authenticator.counts_alone
        self.latencies = latencies
        self.sightings = sightings
        self.open_methods = open_routes.methods
        self.open_areas = ascii_of(open_routes.beginnings)
        self.open_prefixes = ascii_of(open_routes.prefixes)
        self.open_routes = open_routes_of(self.open_methods, self.open_areas, self.open_prefixes)
        if self.l2 is not None and self.l2.slot_size > SLOT_SIZE:
            raise ValueError(f"slots of the shared cache have up to {SLOT_SIZE} bytes")
        if self.sightings.uses is not self.uses:
            raise ValueError("sightings must be of the memory that uses are counted in")
        # Last: what is not set up as a whole cannot be called.
        self.called = &called

    def decide(self):
        """Decide what is certain from now on."""
        self.decides = self.known is not None

    def __call__(self, *arguments, **named):
        """WSGI's call (PEP 3333)."""
        return PyVectorcall_Call(self, arguments, named)

    @cython.final
    cdef Decision look_up(
        self, dict environ, const char *secret, const unsigned char *digest, uint64_t hashed
    ) except FAILED:
        """What the caches say of a secret: the worker's own, then the one between the workers."""
        cdef uint64_t *stripe = stripe_of(self, hashed)
        cdef PyObject *found
        cdef Entry entry
        named = new_text(LOOKUP_SIZE, 127)
        memcpy(text_data(<PyObject *>named), secret + MARK_SIZE, LOOKUP_SIZE)
        found = lookup(self.known, <PyObject *>named, True)
        if found != NULL:
            entry = <Entry>fastcache_give(found)
            if fastcache_equal_digests(digest, entry.sum):
                if fastcache_load(stripe) == entry.ticket:
                    return self.let_through(environ, entry, CACHE_HIT, hashed)
        else:
            fastcache_equal_digests(digest, NO_DIGEST)
        if self.l2 is None:
            return UNKNOWN
        entry = self.recall(secret, digest, stripe)
        if entry is None:
            return UNKNOWN
        self.known[named] = entry
        return self.let_through(environ, entry, SHARED_HIT, hashed)

    @cython.final
    cdef Entry recall(
        self, const char *secret, const unsigned char *digest, uint64_t *stripe
    ):
        """What another worker remembers of this very secret, if it still counts; or None."""
        cdef unsigned char record[SLOT_SIZE]
        cdef size_t size = 0
        cdef uint64_t ticket = 0
        cdef uint64_t deadline = 0
        cdef const char *key = secret + MARK_SIZE
        cdef bint found = self.l2.fetch(key, LOOKUP_SIZE, record, &size, &ticket, &deadline)
        if not found or size < RECORD_HEAD:
            fastcache_equal_digests(digest, NO_DIGEST)
            return None
        if not fastcache_equal_digests(digest, record + DIGEST_AT):
            return None
        if fastcache_load(stripe) != ticket:
            return None
        return entry_of_record(key, record, size, ticket, deadline)

    @cython.final
    cdef Decision let_through(
        self, dict environ, Entry entry, int level, uint64_t hashed
    ) except FAILED:
        """Count a use and hand the principal over, unless the entry or its credential has ended."""
        cdef int64_t now = milliseconds(CLOCK_REALTIME_COARSE)
        cdef uint64_t *row
        if not is_running(entry.deadline, 0) or entry.revoked or has_expired(entry.expires, now):
            return UNCERTAIN
        row = self.uses.row_at(entry.credential_id)
        if row != NULL:
            self.recent.remember(hashed, entry, row)
            self.places = self.recent.places
        count(self, level)
        self.count_and_admit(environ, entry.principal, entry.credential_id, row, now)
        return ADMITTED

    def admit(self, dict environ not None, principal):
        """Count a use, and hand a principal over whose credential was found good elsewhere."""
        cdef uint64_t credential_id = principal.credential_id
        cdef int64_t now = milliseconds(CLOCK_REALTIME_COARSE)
        self.count_and_admit(
            environ, principal, credential_id, self.uses.row_at(credential_id), now
        )

    @cython.final
    cdef int count_and_admit(
        self, dict environ, object principal, uint64_t credential_id, uint64_t *row, int64_t now
    ) except -1:
        """The same for one whose uses are counted in `row`, NULL where it has none yet."""
        cdef uint64_t before
        if row == NULL:
            self.count_use(credential_id)
            self.sightings.see(environ, credential_id, 0)
        else:
            before = count_use(row, now)
            if in_another_second(before, <uint64_t>now):
                look(self.sightings, environ, row, <uint64_t>now)
        count(self, AUTHENTICATED)
        set_item(<PyObject *>environ, <PyObject *>PRINCIPAL, <PyObject *>principal)
        return 0

    # Not final: by way of a pointer, its code does not come into that of a hit.
    cdef object examined(
        self, object environ, object start_response, Presented *presented, Decision decision
    ):
        """The answer to what is not let through here: the application's, if it is elsewhere."""
        if decision == UNKNOWN:
            refusal = self.examine_unknown(
                environ, start_response, presented.secret[:SECRET_SIZE].decode("ascii"),
                presented.digest[:DIGEST_SIZE],
            )
        else:
            refusal = self.examine(environ, start_response)
        if refusal is not None:
            return refusal
        return pass_on(self, <PyObject *>environ, <PyObject *>start_response)


cdef inline object pass_on(HitPath path, PyObject *environ, PyObject *start_response):
    """The application's answer."""
    cdef PyObject *arguments[3]
    arguments[0] = <PyObject *>path.first
    arguments[1] = environ
    arguments[2] = start_response
    return PyObject_Vectorcall(
        <PyObject *>path.function, arguments + 1 - path.bound, <size_t>(2 + path.bound), NULL
    )


cdef Decision decide(
    HitPath path, PyObject *environ, Presented *presented, uint64_t started
) except FAILED:
    """What is certain about a request, and for an UNKNOWN secret its digest."""
    cdef bint certain = False
    cdef const char *secret = presented.secret
    cdef unsigned char *digest = presented.digest
    cdef uint64_t *stripe = presented.stripe
    cdef Place *place = presented.place
    cdef uint64_t *row
    cdef uint64_t before
    cdef int64_t now
    if unexpected(is_open(&path.open_routes, environ, &certain)):
        set_item(environ, <PyObject *>PRINCIPAL, <PyObject *>None)
        count(path, OPEN)
        return ADMITTED
    if not (expected(certain) and expected(secret != NULL)):
        return UNCERTAIN
    if expected(place != NULL):
        fastcache_prefetch(place.row)
        fastcache_prefetch(place.row + SOURCE)
        fastcache_prefetch(place.principal)
    fastcache_digest(&path.key, <const unsigned char *>secret, SECRET_SIZE, digest)
    if expected(place != NULL):
        if not expected(fastcache_equal_digests(digest, place.digest)):
            place += 1
        if (
            expected(fastcache_equal_digests(digest, place.digest))
            and expected(place.principal != NULL)
            and expected(fastcache_load(stripe) == place.ticket)
            and expected(place.left != 0)
            and expected(is_running(place.deadline, started))
        ):
            now = milliseconds(CLOCK_REALTIME_COARSE)
            if expected(not has_expired(place.expires, now)):
                place.left -= 1
                row = place.row
                before = count_use(row, now)
                count(path, CACHE_HIT)
                count(path, AUTHENTICATED)
                # May run Python code, of a hostile key: from here on the place may be another's.
                set_item(environ, <PyObject *>PRINCIPAL, place.principal)
                if unexpected(in_another_second(before, <uint64_t>now)):
                    look(path.sightings, <dict>environ, row, <uint64_t>now)
                return ADMITTED
    return path.look_up(<dict>environ, secret, digest, presented.hashed)


cdef object answer(
    HitPath path, PyObject *environ, PyObject *start_response, Presented *presented,
    uint64_t started,
):
    """The application's answer, or a refusal. `started` is CLOCK_MONOTONIC's time, or 0."""
    cdef Decision decision = UNCERTAIN
    if expected(presented.decides):
        decision = decide(path, environ, presented, started)
    if expected(decision == ADMITTED):
        return pass_on(path, environ, start_response)
    return path.examined(<object>environ, <object>start_response, presented, decision)


cdef object failed(Watch watching):
    """Raise what `answer` has raised, once it is counted."""
    try:
        raise_pending()
    except BaseException:
        fail(watching)
        raise


cdef inline int look_ahead(HitPath path, PyObject *environ, Presented *presented) except -1:
    """Read the one secret; what is needed next arrives from memory while something else is done."""
    cdef const char *secret = secret_in(environ)
    presented.secret = secret
    if unexpected(secret == NULL):
        return 0
    presented.hashed = fastcache_fixed_hash(secret + MARK_SIZE, LOOKUP_SIZE)
    presented.stripe = stripe_of(path, presented.hashed)
    fastcache_prefetch(presented.stripe)
    presented.place = pair_in(path.places, path.pair_mask, presented.hashed)
    if expected(presented.place != NULL):
        fastcache_prefetch(presented.place)
        fastcache_prefetch(presented.place + 1)
    return 0


cdef object called(HitPath path, PyObject **arguments, size_t flagged, PyObject *names):
    """WSGI's call (PEP 3333), by PEP 590."""
    cdef Presented presented
    cdef Watch watching = None
    cdef PyObject *environ
    cdef PyObject *start_response
    cdef PyObject *answered
    cdef uint64_t now = 0
    if not expected(PyVectorcall_NARGS(flagged) == 2 and names == NULL):
        return raise_type_error("a WSGI application is called with an environ and a start_response")
    environ = arguments[0]
    start_response = arguments[1]
    presented.secret = NULL
    presented.hashed = 0
    presented.stripe = NULL
    presented.place = NULL
    # Before the clock: what is fetched here is on its way meanwhile.
    presented.decides = path.decides and PyDict_CheckExact(environ)
    if expected(presented.decides):
        look_ahead(path, environ, &presented)
    if expected(path.latencies is not None):
        now = nanoseconds(CLOCK_MONOTONIC)
        watching = path.spare
        if expected(FASTCACHE_GIL and watching is not None):
            path.spare = None
        else:
            watching = new_watch(path.latencies)
        begin(watching, environ, start_response, now)
        start_response = <PyObject *>watching
        # Nothing can fail between this and the other end of it.
        count(path, STARTED)
    # A try statement would be prepared for at each request.
    answered = (<Unraised>&answer)(path, environ, start_response, &presented, now)
    if expected(watching is not None):
        count(path, FINISHED)
        if unexpected(answered == NULL):
            return failed(watching)
        end(watching)
        if expected(let_go(watching)):
            path.spare = watching
    elif unexpected(answered == NULL):
        return raise_pending()
    return fastcache_give(answered)


cdef HitPath _specimen = HitPath.__new__(HitPath)
cdef Py_ssize_t CALLED_AT = <char *>&_specimen.called - <char *><PyObject *>_specimen
call_by_vector(HitPath, CALLED_AT)


def called_by_vector(cls):
    """Has a subclass of HitPath called without a tuple being made, as HitPath is (PEP 590).

    Raises TypeError for a class that is called otherwise. In CPython 3.11 a `__call__` that such a
    class is given later is not looked at.
    """
    if not issubclass(cls, HitPath) or cls.__call__ is not HitPath.__call__:
        raise TypeError(f"{cls.__name__} is not called as HitPath is")
    call_by_vector(cls, CALLED_AT)
    return cls
