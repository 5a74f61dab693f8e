# cython: always_allow_keywords=False
"""The check on a hit, compiled: from the environ to the application in one go.

Only what is certain is decided here: an open route, and a credential in its plainest form whose
entry is fresh, not revoked, not expired, and has the digest of the secret that was presented. All
else (other forms, malformed values, misses, refusals) goes to `examine`, which decides it in
Python by the same rules. So this can only let through what that would let through, and refuses
nothing itself.

The form of a credential is not looked at beyond its length and its scheme: whatever has the digest
of the registered secret is that secret.
"""

cimport cython
from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy

from app.auth._clock cimport (
    CLOCK_MONOTONIC,
    CLOCK_MONOTONIC_COARSE,
    CLOCK_REALTIME,
    CLOCK_REALTIME_COARSE,
    LAG_MS,
    LAG_NS,
    milliseconds,
    nanoseconds,
)
from app.auth._entry cimport DIGEST_SIZE, LOOKUP_SIZE, NEVER, Entry
from app.auth._latency cimport Latencies, Watch, watch
from fastcache._digest cimport KeyedDigest, fastcache_equal_digests
from fastcache._shard cimport fastcache_give
from fastcache._shared cimport Counters, Stripes
from fastcache._store cimport lookup
from fastcache._tallies cimport Tallies
from fastcache._ttl cimport TTLCache

from app.auth.counts import Count, Use


cdef extern from "Python.h":
    bint PyUnicode_CheckExact(PyObject *text) noexcept
    bint PyUnicode_IS_COMPACT_ASCII(PyObject *text) noexcept
    Py_ssize_t text_length "PyUnicode_GET_LENGTH"(PyObject *text) noexcept
    char *text_data "PyUnicode_1BYTE_DATA"(PyObject *text) noexcept
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 largest)
    bint PyDict_CheckExact(object mapping) noexcept


cdef extern from "_atomics.h":
    uint64_t fastcache_load(uint64_t *word) noexcept nogil
    void fastcache_store_relaxed(uint64_t *word, uint64_t value) noexcept nogil
    void fastcache_add_relaxed(uint64_t *word, uint64_t amount) noexcept nogil


cdef enum:
    BEARER_SIZE = 7         # "Bearer "
    MARK_SIZE = 3           # "ak_", "sk_"
    SECRET_SIZE = 79

cdef int AUTHENTICATED = Count.AUTHENTICATED
cdef int OPEN = Count.OPEN
cdef int CACHE_HIT = Count.CACHE_HIT
cdef int STARTED = Count.STARTED
cdef int FINISHED = Count.FINISHED
cdef int USES = Use.USES
cdef int LAST_USED = Use.LAST_USED

cdef str AUTHORIZATION = "HTTP_AUTHORIZATION"
cdef str API_KEY = "HTTP_X_API_KEY"
cdef str API_SECRET = "HTTP_X_API_SECRET"
cdef str METHOD = "REQUEST_METHOD"
cdef str PATH = "PATH_INFO"
cdef str PRINCIPAL = "latchkey.principal"
cdef object UNDECIDED = object()
cdef unsigned char[DIGEST_SIZE] NO_SUM


cdef inline const char *plain(PyObject *text, Py_ssize_t size) noexcept:
    """The characters of a str that is exactly that and has `size` of them in ASCII; else NULL."""
    if PyUnicode_CheckExact(text) and PyUnicode_IS_COMPACT_ASCII(text):
        if text_length(text) == size:
            return text_data(text)
    return NULL


cdef inline bint is_bearer(const char *text) noexcept nogil:
    return memcmp(text, b"Bearer ", BEARER_SIZE) == 0 or memcmp(text, b"bearer ", BEARER_SIZE) == 0


@cython.auto_pickle(False)
cdef class HitPath:
    """The part of the middleware that is compiled; a subclass has `examine`.

    `examine(environ, start_response)` returns None to go on to the application, with the
    principal in the environ, or the body of an answer that it started.
    """

    def __init__(
        self, wsgi_app, *, known, state, counters, latencies, open_methods, open_areas
    ):
        """`known` is the worker's cache of entries by lookup key, None for another backend."""
        self.wsgi_app = wsgi_app
        self.known = known
        self.digest = state.digest
        self.stripes = state.stripes
        self.uses = state.uses
        self.count_use = state.count_use
        self.counters = counters
        self.counts = self.counters.words
        self.latencies = latencies
        self.open_methods = open_methods
        self.open_areas = open_areas

    def __call__(self, environ, start_response):
        """WSGI's call (PEP 3333)."""
        cdef Watch watching
        if self.latencies is None:
            return self.answer(environ, start_response)
        fastcache_add_relaxed(&self.counts[STARTED], 1)
        watching = watch(self.latencies, environ, start_response, nanoseconds(CLOCK_MONOTONIC))
        try:
            answer = self.answer(environ, watching)
        except BaseException:
            watching.fail()
            raise
        finally:
            fastcache_add_relaxed(&self.counts[FINISHED], 1)
        watching.end()
        return answer

    cdef object answer(self, object environ, object start_response):
        if not PyDict_CheckExact(environ) or self.decide(<dict>environ) is UNDECIDED:
            answer = self.examine(environ, start_response)
            if answer is not None:
                return answer
        return self.wsgi_app(environ, start_response)

    cdef object decide(self, dict environ):
        """Put the principal into the environ, or be UNDECIDED."""
        cdef PyObject *authorization
        cdef PyObject *api_key
        cdef PyObject *secret
        cdef const char *text
        cdef const char *key
        cdef unsigned char digest[DIGEST_SIZE]
        cdef PyObject *found
        cdef Entry entry
        if self.known is None:
            return UNDECIDED
        authorization = PyDict_GetItemWithError(environ, AUTHORIZATION)
        api_key = PyDict_GetItemWithError(environ, API_KEY)
        secret = PyDict_GetItemWithError(environ, API_SECRET)
        if authorization != NULL:
            text = plain(authorization, BEARER_SIZE + SECRET_SIZE)
            if text == NULL or api_key != NULL or secret != NULL or not is_bearer(text):
                return UNDECIDED
            text += BEARER_SIZE
        elif api_key != NULL and secret != NULL:
            key = plain(api_key, MARK_SIZE + LOOKUP_SIZE)
            text = plain(secret, SECRET_SIZE)
            if key == NULL or text == NULL or memcmp(key, b"ak_", MARK_SIZE) != 0:
                return UNDECIDED
            if memcmp(key + MARK_SIZE, text + MARK_SIZE, LOOKUP_SIZE) != 0:
                return UNDECIDED
        else:
            return UNDECIDED
        named = PyUnicode_New(LOOKUP_SIZE, 127)
        memcpy(text_data(<PyObject *>named), text + MARK_SIZE, LOOKUP_SIZE)
        self.digest.compute(<const unsigned char *>text, SECRET_SIZE, digest)
        found = lookup(self.known, named, True)
        if found == NULL:
            return UNDECIDED
        entry = <Entry>fastcache_give(found)
        if not fastcache_equal_digests(digest, entry.sum, DIGEST_SIZE):
            return UNDECIDED
        if fastcache_load(self.stripes.word_at(text + MARK_SIZE, LOOKUP_SIZE)) != entry.ticket:
            return UNDECIDED
        if entry.revoked or not alive(entry):
            return UNDECIDED
        fastcache_add_relaxed(&self.counts[CACHE_HIT], 1)
        self.let_through(environ, entry)
        return None

    cdef int let_through(self, dict environ, Entry entry) except -1:
        """Count a use of the entry's credential, and hand the principal over."""
        cdef int64_t now = milliseconds(CLOCK_REALTIME_COARSE)
        cdef uint64_t *row
        if entry.expires - now <= LAG_MS and entry.expires <= milliseconds(CLOCK_REALTIME):
            return 0
        row = self.uses.row_at(entry.credential_id)
        if row == NULL:
            self.count_use(entry.credential_id)
        else:
            fastcache_add_relaxed(&row[USES], 1)
            fastcache_store_relaxed(&row[LAST_USED], <uint64_t>now)
        fastcache_add_relaxed(&self.counts[AUTHENTICATED], 1)
        PyDict_SetItem(environ, PRINCIPAL, entry.principal)
        return 0


cdef inline bint alive(Entry entry) noexcept nogil:
    """Whether the entry's time is still running."""
    return (
        nanoseconds(CLOCK_MONOTONIC_COARSE) + LAG_NS < entry.deadline
        or nanoseconds(CLOCK_MONOTONIC) < entry.deadline
    )
