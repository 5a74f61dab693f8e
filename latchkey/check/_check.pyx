# cython: always_allow_keywords=False
"""The check of a request, compiled: it lets a hit through, and leaves all else undecided.

Only what is certain is decided here: an open route, and a credential in its plainest form whose
entry is fresh, not revoked, not expired, and has the digest of the secret that was presented. All
else (other forms, malformed values, misses, refusals) is left to the policy, which decides it in
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

from fastcache._shard cimport fastcache_give, fastcache_prefetch
from fastcache._store cimport lookup
from fastcache.shared._digest cimport DIGEST_SIZE, fastcache_digest, fastcache_equal_digests
from latchkey.box._counters cimport (
    AUTHENTICATED,
    CACHE_HIT,
    OPEN,
    SHARED_HIT,
    SOURCE,
    count,
)
from latchkey.box._sightings cimport count_use, in_another_second, look
from latchkey.check._entry cimport DIGEST_AT, RECORD_HEAD, CacheEntry, entry_of_record
from latchkey.check._headers cimport secret_in
from latchkey.check._recent cimport Place, Recent, pair_in
from latchkey.check._routes cimport ascii_of, is_open, open_routes_of
from latchkey.credentials._proof cimport LOOKUP_SIZE, MARK_SIZE, SECRET_SIZE
from latchkey.native._clock cimport (
    CLOCK_REALTIME_COARSE,
    has_expired,
    is_running,
    milliseconds,
)
from latchkey.native._text cimport text_data
from latchkey.native._vector cimport expected, refuse_second_setup, unexpected
from latchkey.native._words cimport load

from enum import Enum


cdef extern from "Python.h":
    # Without the references that Cython would take and drop.
    object new_text "PyUnicode_New"(Py_ssize_t size, Py_UCS4 largest)
    bint PyDict_CheckExact(PyObject *mapping) noexcept
    int set_item "PyDict_SetItem"(PyObject *mapping, PyObject *key, PyObject *value) except -1


cdef extern from "_fixed_hash.h":
    uint64_t fastcache_fixed_hash(const char *key, size_t length) noexcept nogil


cdef enum:
    SLOT_SIZE = 4096        # the longest record that is read from the shared cache

cdef str PRINCIPAL = "latchkey.principal"
cdef unsigned char[DIGEST_SIZE] NO_DIGEST


class Verdict(Enum):
    """What a check came to where that is no principal."""

    OPEN = "open"
    """The route needs no credential."""
    UNDECIDED = "undecided"
    """The policy decides."""


@cython.final
@cython.auto_pickle(False)
cdef class Check:
    """Decides about requests of one worker, as far as that is certain.

    It is called with a WSGI environ, and knows no answers, no metrics and no refusals.
    """

    def __init__(self, authenticator, *, known, open_routes, sightings, waits=False):
        """`known` is the cache of entries by lookup key, None to decide nothing here.

        Nor does a check that `waits` decide anything before `begin` is called.

        Once only: what a request that is under way reads is not replaced.
        """
        refuse_second_setup(self.counters is not None)
        self.known = known
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
        self.sightings = sightings
        self.open_methods = open_routes.methods
        self.open_areas = ascii_of(open_routes.beginnings)
        self.open_prefixes = ascii_of(open_routes.prefixes)
        self.open_routes = open_routes_of(self.open_methods, self.open_areas, self.open_prefixes)
        if self.l2 is not None and self.l2.slot_size > SLOT_SIZE:
            raise ValueError(f"slots of the shared cache have up to {SLOT_SIZE} bytes")
        if self.sightings.uses is not self.uses:
            raise ValueError("sightings must be of the memory that uses are counted in")
        self.counters = authenticator.counters
        self.block.words = self.counters.words
        self.block.alone = authenticator.counts_alone
        # Last: what is not set up as a whole decides nothing.
        self.decides = known is not None and not waits

    def begin(self):
        """Decide what is certain from now on, where the check waited for that."""
        self.decides = self.known is not None

    def end(self):
        """Decide nothing any more: in a child after a fork, while no request is under way."""
        self.decides = False

    def __call__(self, environ, /):
        """The principal, `Verdict.OPEN`, or `Verdict.UNDECIDED`.

        A principal, or None for an open route, is also put into the environ, and its use counted.
        """
        cdef Request request
        if decide(self, <PyObject *>environ, &request) != ADMITTED:
            return Verdict.UNDECIDED
        principal = environ[PRINCIPAL]
        return Verdict.OPEN if principal is None else principal

    cdef Decision look_up(
        self, dict environ, const char *secret, const unsigned char *digest, uint64_t hashed
    ) except FAILED:
        """What the caches say of a secret: the worker's own, then the one between the workers."""
        cdef uint64_t *stripe = stripe_of(self, hashed)
        cdef PyObject *found
        cdef CacheEntry entry
        named = new_text(LOOKUP_SIZE, 127)
        memcpy(text_data(<PyObject *>named), secret + MARK_SIZE, LOOKUP_SIZE)
        found = lookup(self.known, <PyObject *>named, True)
        if found != NULL:
            entry = <CacheEntry>fastcache_give(found)
            if fastcache_equal_digests(digest, entry.sum):
                if load(stripe) == entry.ticket:
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

    cdef CacheEntry recall(
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
        if load(stripe) != ticket:
            return None
        return entry_of_record(key, record, size, ticket, deadline)

    cdef Decision let_through(
        self, dict environ, CacheEntry entry, int level, uint64_t hashed
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
        count(&self.block, level)
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
                look(self.sightings, environ, row, <uint64_t>now)
        count(&self.block, AUTHENTICATED)
        set_item(<PyObject *>environ, <PyObject *>PRINCIPAL, <PyObject *>principal)
        return 0


cdef inline uint64_t *stripe_of(Check check, uint64_t hashed) noexcept nogil:
    return &check.stripe_words[hashed & check.stripe_mask]


cdef inline int look_ahead(Check check, PyObject *environ, Request *request) except -1:
    """Read the one secret; what is needed next arrives from memory while something else is done."""
    cdef const char *secret = secret_in(environ)
    request.secret = secret
    if unexpected(secret == NULL):
        request.hashed = 0
        request.stripe = NULL
        request.place = NULL
        return 0
    request.hashed = fastcache_fixed_hash(secret + MARK_SIZE, LOOKUP_SIZE)
    request.stripe = stripe_of(check, request.hashed)
    fastcache_prefetch(request.stripe)
    request.place = pair_in(check.places, check.pair_mask, request.hashed)
    if expected(request.place != NULL):
        fastcache_prefetch(request.place)
        fastcache_prefetch(request.place + 1)
    return 0


cdef Decision decide(Check check, PyObject *environ, Request *request) except FAILED:
    """What is certain about a request, and for an UNKNOWN secret its digest.

    An admitted request has its principal in the environ, and its use is counted.
    """
    cdef bint certain = False
    cdef const char *secret
    cdef unsigned char *digest = request.digest
    cdef uint64_t *stripe
    cdef Place *place
    cdef uint64_t *row
    cdef uint64_t before
    cdef int64_t now
    request.secret = NULL
    if not (expected(check.decides) and expected(PyDict_CheckExact(environ))):
        return UNCERTAIN
    look_ahead(check, environ, request)
    secret = request.secret
    stripe = request.stripe
    place = request.place
    if unexpected(is_open(&check.open_routes, environ, &certain)):
        set_item(environ, <PyObject *>PRINCIPAL, <PyObject *>None)
        count(&check.block, OPEN)
        return ADMITTED
    if not (expected(certain) and expected(secret != NULL)):
        return UNCERTAIN
    if expected(place != NULL):
        fastcache_prefetch(place.row)
        fastcache_prefetch(place.row + SOURCE)
        fastcache_prefetch(place.principal)
    fastcache_digest(&check.key, <const unsigned char *>secret, SECRET_SIZE, digest)
    if expected(place != NULL):
        if not expected(fastcache_equal_digests(digest, place.digest)):
            place += 1
        if (
            expected(fastcache_equal_digests(digest, place.digest))
            and expected(place.principal != NULL)
            and expected(load(stripe) == place.ticket)
            and expected(place.left != 0)
            and expected(is_running(place.deadline, 0))
        ):
            now = milliseconds(CLOCK_REALTIME_COARSE)
            if expected(not has_expired(place.expires, now)):
                place.left -= 1
                row = place.row
                before = count_use(row, now)
                count(&check.block, CACHE_HIT)
                count(&check.block, AUTHENTICATED)
                # May run Python code, of a hostile key: from here on the place may be another's.
                set_item(environ, <PyObject *>PRINCIPAL, place.principal)
                if unexpected(in_another_second(before, <uint64_t>now)):
                    look(check.sightings, <dict>environ, row, <uint64_t>now)
                return ADMITTED
    return check.look_up(<dict>environ, secret, digest, request.hashed)
