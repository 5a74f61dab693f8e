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
from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy

from app.auth._clock cimport (
    CLOCK_MONOTONIC,
    CLOCK_REALTIME_COARSE,
    has_expired,
    is_running,
    milliseconds,
    nanoseconds,
)
from app.auth._entry cimport (
    DIGEST_AT,
    LOOKUP_SIZE,
    RECORD_HEAD,
    Entry,
    entry_of_record,
)
from app.auth._headers cimport (
    MARK_SIZE,
    SECRET_SIZE,
    is_str,
    plain,
    secret_in,
    text_data,
    text_size,
)
from app.auth._latency cimport Watch, watch
from app.auth._recent cimport Place, Recent, pair_in
from app.auth._sightings cimport in_another_second
from fastcache._digest cimport DIGEST_SIZE, fastcache_digest, fastcache_equal_digests
from fastcache._shard cimport fastcache_give, fastcache_prefetch
from fastcache._store cimport lookup

from app.auth.counts import Count, Use


cdef extern from "Python.h":
    # Without the references that Cython would take and drop.
    bint PySet_Contains(object collection, PyObject *key) except -1
    object new_text "PyUnicode_New"(Py_ssize_t size, Py_UCS4 largest)
    bint PyDict_CheckExact(object mapping) noexcept


cdef extern from *:
    """
    /* What a call returns that failed: the exception is the thread's already. */
    static inline PyObject *latchkey_failed(void)
    {
        return NULL;
    }
    """
    object raise_pending "latchkey_failed"()


ctypedef PyObject *(*Unraised)(HitPath, object, object, uint64_t) noexcept


cdef extern from "_atomics.h":
    uint64_t fastcache_load(uint64_t *word) noexcept nogil
    uint64_t fastcache_load_relaxed(uint64_t *word) noexcept nogil
    void fastcache_store_relaxed(uint64_t *word, uint64_t value) noexcept nogil
    void fastcache_add_relaxed(uint64_t *word, uint64_t amount) noexcept nogil
    void fastcache_add_alone(uint64_t *word, uint64_t amount) noexcept


cdef extern from "_fixed_hash.h":
    uint64_t fastcache_fixed_hash(const char *key, size_t length) noexcept nogil


cdef enum:
    SLOT_SIZE = 4096        # the longest record that is read from the shared cache

cdef int AUTHENTICATED = Count.AUTHENTICATED
cdef int OPEN = Count.OPEN
cdef int CACHE_HIT = Count.CACHE_HIT
cdef int SHARED_HIT = Count.SHARED_HIT
cdef int STARTED = Count.STARTED
cdef int FINISHED = Count.FINISHED
cdef int USES = Use.USES
cdef int LAST_USED = Use.LAST_USED

cdef str METHOD = "REQUEST_METHOD"
cdef str PATH = "PATH_INFO"
cdef str PRINCIPAL = "latchkey.principal"
cdef unsigned char[DIGEST_SIZE] NO_DIGEST


cdef inline uint64_t mark_of(char character) noexcept nogil:
    return <uint64_t>1 << (<unsigned char>character & 63)


cdef inline uint64_t count_use(uint64_t *row, int64_t now) noexcept nogil:
    """Count a use; when the one before it was."""
    cdef uint64_t before = fastcache_load_relaxed(&row[LAST_USED])
    fastcache_add_relaxed(&row[USES], 1)
    fastcache_store_relaxed(&row[LAST_USED], <uint64_t>now)
    return before


cdef inline void count(HitPath path, int index) noexcept:
    """Count in the worker's block."""
    if path.alone:
        fastcache_add_alone(&path.counts[index], 1)
    else:
        fastcache_add_relaxed(&path.counts[index], 1)


cdef inline uint64_t *stripe_of(HitPath path, uint64_t hashed) noexcept nogil:
    return &path.stripe_words[hashed & path.stripe_mask]


@cython.auto_pickle(False)
cdef class HitPath:
    """The part of the middleware that is compiled; a subclass decides what is not decided here.

    `examine(environ, start_response)` returns None to go on to the application, or the body of
    an answer that it started. `examine_unknown(environ, start_response, secret, digest)` does
    so for a protected route and one secret, not yet known to be well-formed, that no cache has.
    """

    def __init__(self, wsgi_app, authenticator, *, known, open_routes, latencies, sightings):
        """`known` is the cache of entries by lookup key, None to decide nothing here."""
        self.wsgi_app = wsgi_app
        self.known = known
        self.decides = known is not None
        self.recent = Recent(0 if known is None else int(known.maxsize))
        self.places = self.recent.places
        self.pair_mask = self.recent.mask
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
        self.open_areas = tuple([
            area.encode() for area in open_routes.areas if area.isascii()
        ])
        for area in self.open_areas:
            # What is shorter than two characters may be met by any path.
            self.area_marks |= mark_of((<const char *><bytes>area)[1]) if len(area) > 1 else ~0
        for path in self.open_methods:
            self.open_sizes |= <uint64_t>1 << <int>min(len(path), 63)
        if self.l2 is not None and self.l2.slot_size > SLOT_SIZE:
            raise ValueError(f"slots of the shared cache have up to {SLOT_SIZE} bytes")

    def __call__(self, environ, start_response):
        """WSGI's call (PEP 3333)."""
        cdef Watch watching
        cdef PyObject *answered
        cdef uint64_t now
        if self.latencies is None:
            return answer(self, environ, start_response, 0)
        now = nanoseconds(CLOCK_MONOTONIC)
        watching = watch(self.latencies, environ, start_response, now)
        # Nothing can fail between this and the other end of it.
        count(self, STARTED)
        # A try statement would be prepared for at each request.
        answered = (<Unraised>&answer)(self, environ, watching, now)
        count(self, FINISHED)
        if answered == NULL:
            return failed(watching)
        returned = fastcache_give(answered)
        watching.end()
        return returned

    cdef Decision decide(
        self, dict environ, const char **presented, unsigned char *digest, uint64_t started
    ) except *:
        """What is certain about a request, and for an UNKNOWN secret its text and its digest."""
        cdef bint certain = False
        cdef const char *secret
        cdef uint64_t hashed = 0
        cdef uint64_t *stripe = NULL
        cdef Place *place = NULL
        cdef uint64_t *row
        cdef uint64_t before
        cdef int64_t now
        if not self.decides:
            return UNCERTAIN
        secret = secret_in(environ)
        if secret != NULL:
            # What is needed next arrives from memory while something else is done.
            hashed = fastcache_fixed_hash(secret + MARK_SIZE, LOOKUP_SIZE)
            stripe = stripe_of(self, hashed)
            fastcache_prefetch(stripe)
            place = pair_in(self.places, self.pair_mask, hashed)
            if place != NULL:
                fastcache_prefetch(place)
                fastcache_prefetch(place + 1)
        if self.is_open(environ, &certain):
            PyDict_SetItem(environ, PRINCIPAL, None)
            count(self, OPEN)
            return ADMITTED
        if not certain or secret == NULL:
            return UNCERTAIN
        presented[0] = secret
        if place != NULL:
            fastcache_prefetch(place.row)
            fastcache_prefetch(place.principal)
        fastcache_digest(&self.key, <const unsigned char *>secret, SECRET_SIZE, digest)
        if place != NULL:
            if not fastcache_equal_digests(digest, place.digest):
                place += 1
            if (
                fastcache_equal_digests(digest, place.digest)
                and place.principal != NULL
                and fastcache_load(stripe) == place.ticket
                and place.left != 0
                and is_running(place.deadline, started)
            ):
                now = milliseconds(CLOCK_REALTIME_COARSE)
                if not has_expired(place.expires, now):
                    place.left -= 1
                    row = place.row
                    principal = <object>place.principal
                    before = count_use(row, now)
                    count(self, CACHE_HIT)
                    count(self, AUTHENTICATED)
                    PyDict_SetItem(environ, PRINCIPAL, principal)
                    if in_another_second(before, <uint64_t>now):
                        # Runs Python code: from here on the place may be another's.
                        self.sightings.look(
                            environ, principal.credential_id, row, <uint64_t>now
                        )
                    return ADMITTED
        return self.look_up(environ, secret, digest, hashed)

    cdef Decision look_up(
        self, dict environ, const char *secret, const unsigned char *digest, uint64_t hashed
    ) except *:
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

    cdef bint is_open(self, dict environ, bint *certain) except -1:
        """Whether the route needs no credential; `certain` where nothing odd was in the way."""
        cdef PyObject *path = PyDict_GetItemWithError(environ, PATH)
        cdef PyObject *method
        cdef PyObject *methods
        cdef const char *text
        cdef Py_ssize_t size
        if path == NULL:
            return False
        text = plain(path)
        if text == NULL:
            return False
        size = text_size(path)
        if self.open_sizes >> <int>min(size, 63) & 1:
            methods = PyDict_GetItemWithError(self.open_methods, <object>path)
            if methods != NULL:
                method = PyDict_GetItemWithError(environ, METHOD)
                if method == NULL or not is_str(method):
                    return False
                if PySet_Contains(<object>methods, method):
                    return True
        certain[0] = True
        if size > 1 and self.area_marks & mark_of(text[1]) == 0:
            return False
        for area in self.open_areas:
            if size >= len(<bytes>area) and memcmp(
                text, <const char *><bytes>area, <size_t>len(<bytes>area)
            ) == 0:
                return True
        return False

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

    cdef Decision let_through(
        self, dict environ, Entry entry, int level, uint64_t hashed
    ) except *:
        """Count a use and hand the principal over, unless the entry or its credential has ended."""
        cdef int64_t now = milliseconds(CLOCK_REALTIME_COARSE)
        cdef uint64_t *row
        if not is_running(entry.deadline, 0) or entry.revoked or has_expired(entry.expires, now):
            return UNCERTAIN
        row = self.uses.row_at(entry.credential_id)
        if row != NULL:
            self.recent.remember(hashed, entry, row)
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
                self.sightings.look(environ, credential_id, row, <uint64_t>now)
        count(self, AUTHENTICATED)
        PyDict_SetItem(environ, PRINCIPAL, principal)
        return 0


cdef object answer(HitPath path, object environ, object start_response, uint64_t started):
    """The application's answer, or a refusal. `started` is CLOCK_MONOTONIC's time, or 0."""
    cdef unsigned char digest[DIGEST_SIZE]
    cdef const char *secret = NULL
    cdef Decision decision = UNCERTAIN
    if PyDict_CheckExact(environ):
        decision = path.decide(<dict>environ, &secret, digest, started)
    if decision != ADMITTED:
        if decision == UNKNOWN:
            refusal = path.examine_unknown(
                environ, start_response, secret[:SECRET_SIZE].decode("ascii"),
                digest[:DIGEST_SIZE],
            )
        else:
            refusal = path.examine(environ, start_response)
        if refusal is not None:
            return refusal
    return path.wsgi_app(environ, start_response)


cdef object failed(Watch watching):
    """Raise what `answer` has raised, once it is counted."""
    try:
        raise_pending()
    except BaseException:
        watching.fail()
        raise
