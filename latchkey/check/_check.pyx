# cython: always_allow_keywords=False
"""The compiled check of a request: admits hits, and leaves all other requests undecided.

It decides only two cases: an open route, and a credential in its plain form whose entry is fresh,
not revoked, not expired, and has the digest of the presented secret. All other requests (other
forms, malformed values, misses, refusals) are left to the policy, which applies the same rules in
Python. So this code never admits a request that the policy would refuse, and refuses none itself.

If other boxes share the database, a cached entry counts only while the box has a lease.

Only the length of a secret is checked, not its form: a secret with the digest of the registered one
is that secret. For every secret, wrong or right, with a known key or not, the same steps are done:
the caches are read, and the digest is computed and compared. A secret that was admitted recently is
found in a small table before the caches (_recent.pyx).
"""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastcache._shard cimport fastcache_give, fastcache_prefetch
from fastcache._store cimport lookup
from fastcache.shared._digest cimport DIGEST_SIZE, fastcache_digest, fastcache_equal_digests
from latchkey.box._counters cimport (
    AUTHENTICATED, CACHE_HIT, FRESH_UNTIL, OPEN, SHARED_HIT, SOURCE, count, count_taken
)
from latchkey.box._sightings cimport check_source, count_use, in_another_second
from latchkey.check._entry cimport (
    DIGEST_AT, RECORD_HEAD, CacheEntry, entry_of_record, outcome_of
)
from latchkey.check._limits cimport LimitOutcome, LimitPlan
from latchkey.check._reading cimport has_lease, is_current, prefetch_entry, prefetch_limits
from latchkey.check._recent cimport Place, Recent
from latchkey.check._routes cimport (
    OUTSIDE,
    UNCLEAR,
    Side,
    ascii_of,
    is_open,
    open_routes_of,
    side_of,
)
from latchkey.check._taking cimport ALL_TAKEN, Taking, tables_of, take_limits
from latchkey.credentials._proof cimport LOOKUP_SIZE, MARK_SIZE, SECRET_SIZE
from latchkey.native._clock cimport (
    CLOCK_MONOTONIC_COARSE,
    CLOCK_REALTIME_COARSE,
    has_expired,
    is_running,
    milliseconds,
    nanoseconds,
)
from latchkey.native._text cimport text_data
from latchkey.native._vector cimport expected, refuse_second_setup, unexpected
from latchkey.native._words cimport load

from enum import Enum

from latchkey.check.modes import ALL_MODES


cdef extern from "Python.h":
    # Declared without the reference counting that Cython would add.
    object new_text "PyUnicode_New"(Py_ssize_t size, Py_UCS4 largest)
    bint PyDict_CheckExact(PyObject *mapping) noexcept
    int set_item "PyDict_SetItem"(PyObject *mapping, PyObject *key, PyObject *value) except -1


cdef enum:
    SLOT_SIZE = 4096        # the longest record that is read from the shared cache

cdef str PRINCIPAL = "latchkey.principal"
cdef str LIMITS = "latchkey.limits"
cdef unsigned char[DIGEST_SIZE] NO_DIGEST


class Verdict(Enum):
    """The result of a check without a principal."""

    OPEN = "open"
    """The route needs no credential."""
    UNDECIDED = "undecided"
    """Left to the policy."""


@cython.final
@cython.auto_pickle(False)
cdef class Check:
    """Decides requests of one worker in the cases that the module describes.

    Call it with a WSGI environ. It contains no responses, metrics or refusals.
    """

    def __init__(
        self, authenticator, *, known, open_routes, sightings, conditions=None, waits=False,
        modes=ALL_MODES, takes_limits=True, header_style="standard"
    ):
        """`known` is the cache of entries by lookup key; with None, nothing is decided here.

        With `waits`, nothing is decided before `begin` is called. `conditions` evaluates the
        conditions of entries; with None, entries with conditions are left undecided. Secrets of
        other modes than `modes` are left undecided, and without `takes_limits`, keys with limits.
        `header_style` is that in which the gate tells what is left of them; see LimitOutcome.

        An instance cannot be initialised again: current requests read its fields.
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
        self.words = authenticator.shared.words
        self.fresh_until = self.words.words + FRESH_UNTIL
        self.uses = authenticator.shared.uses
        self.count_use = authenticator.shared.count_use
        self.sightings = sightings
        self.conditions = conditions
        self.tables = tables_of(authenticator.shared.limits)
        self.cost = 1 if takes_limits else 0
        self.as_x = ("standard", "x").index(header_style)
        self.open_methods = open_routes.methods
        self.open_areas = ascii_of(open_routes.beginnings)
        self.open_prefixes = ascii_of(open_routes.prefixes)
        self.only = None if open_routes.only is None else ascii_of(open_routes.only_prefixes)
        self.open_routes = open_routes_of(
            self.open_methods, self.open_areas, self.open_prefixes, self.only
        )
        self.mode = 0
        if modes != ALL_MODES:
            (mode,) = modes
            self.mode = ord(mode[0])
        if self.l2 is not None and self.l2.slot_size > SLOT_SIZE:
            raise ValueError(f"slots of the shared cache have up to {SLOT_SIZE} bytes")
        if self.sightings.uses is not self.uses:
            raise ValueError("sightings must be of the memory that uses are counted in")
        self.counters = authenticator.counters
        self.block.words = self.counters.words
        self.block.alone = authenticator.counts_alone
        # Assigned last: a partly initialised check decides nothing.
        self.decides = known is not None and not waits

    def begin(self):
        """Start deciding, if the check was created with `waits`."""
        self.decides = self.known is not None

    def end(self):
        """Stop deciding; for a child after a fork, while it has no requests."""
        self.decides = False

    def __call__(self, environ, /):
        """The principal, `Verdict.OPEN`, or `Verdict.UNDECIDED`.

        A principal, or None for an open route, is also stored in the environ, and its use is
        counted. The environ of a key with limits also has the LimitOutcome, in "latchkey.limits".
        """
        cdef Request request
        request.cost = self.cost
        cdef Decision decision = decide(self, <PyObject *>environ, &request)
        if decision != ADMITTED and decision != LIMITED:
            return Verdict.UNDECIDED
        principal = environ[PRINCIPAL]
        return Verdict.OPEN if principal is None else principal

    cdef Decision look_up(self, dict environ, Request *request) except FAILED:
        """Look a secret up in the worker's own cache, then in the one between the workers."""
        cdef const char *secret = request.secret
        cdef const unsigned char *digest = request.digest
        cdef PyObject *found
        cdef CacheEntry entry
        named = new_text(LOOKUP_SIZE, 127)
        memcpy(text_data(<PyObject *>named), secret + MARK_SIZE, LOOKUP_SIZE)
        found = lookup(self.known, <PyObject *>named, True)
        if found != NULL:
            entry = <CacheEntry>fastcache_give(found)
            if fastcache_equal_digests(digest, entry.sum):
                if is_current(self, request.stripe, entry):
                    return self.admit_entry(environ, entry, CACHE_HIT, request)
        else:
            fastcache_equal_digests(digest, NO_DIGEST)
        if self.l2 is None:
            return UNKNOWN
        entry = self.fetch_shared(secret, digest, request.stripe)
        if entry is None:
            return UNKNOWN
        self.known[named] = entry
        return self.admit_entry(environ, entry, SHARED_HIT, request)

    cdef CacheEntry fetch_shared(
        self, const char *secret, const unsigned char *digest, uint64_t *stripe
    ):
        """The entry of this secret in the cache between the workers, if it is valid; else None."""
        cdef unsigned char record[SLOT_SIZE]
        cdef size_t size = 0
        cdef uint64_t ticket = 0
        cdef uint64_t deadline = 0
        cdef const char *key = secret + MARK_SIZE
        cdef CacheEntry entry
        cdef bint found = self.l2.fetch(key, LOOKUP_SIZE, record, &size, &ticket, &deadline)
        if not found or size < RECORD_HEAD:
            fastcache_equal_digests(digest, NO_DIGEST)
            return None
        if not fastcache_equal_digests(digest, record + DIGEST_AT):
            return None
        entry = entry_of_record(key, record, size, ticket, deadline)
        if entry is None or not is_current(self, stripe, entry):
            return None
        return entry

    cdef Decision admit_entry(
        self, dict environ, CacheEntry entry, int level, Request *request
    ) except FAILED:
        """Count a use and store the principal, unless the entry or its credential has expired."""
        cdef int64_t now = milliseconds(CLOCK_REALTIME_COARSE)
        cdef uint64_t coarse = nanoseconds(CLOCK_MONOTONIC_COARSE)
        cdef uint64_t *row
        if not has_lease(self, coarse) or not is_running(entry.deadline, coarse):
            return UNCERTAIN
        if entry.revoked or has_expired(entry.expires, now):
            return UNCERTAIN
        if unexpected(entry.evaluation is not None):
            if self.conditions is None:
                return UNCERTAIN
            if not self.conditions.admits(environ, entry.credential_id, entry.evaluation, now):
                return UNCERTAIN
        if unexpected(entry.limits is not None) and not self.takes(entry, request, now):
            return UNCERTAIN
        row = self.uses.row_at(entry.credential_id)
        # An entry with conditions has to be evaluated each time.
        if row != NULL and entry.evaluation is None:
            self.recent.remember(
                request.hashed, entry, <uint32_t>(entry.account_hash & self.stripe_mask), row
            )
            self.places = self.recent.places
        count(&self.block, level)
        self.count_and_admit(environ, entry.principal, entry.credential_id, row, now)
        if unexpected(entry.limits is not None):
            return limited(self, <PyObject *>environ, entry, request)
        return ADMITTED

    cdef bint takes(self, CacheEntry entry, Request *request, int64_t now) except -1:
        """Take from the limits of an entry; False leaves that to the policy."""
        cdef LimitPlan plan = entry.limits
        cdef Taking taking
        if request.cost == 0 or take_limits(
            plan.steps, plan.count, self.tables, request.cost, now, &taking
        ) != ALL_TAKEN:
            return False
        count_taken(&self.block, plan.has_rates, plan.has_quotas)
        return True

    def admit(self, dict environ not None, principal):
        """Count a use and store the principal of a credential that was verified elsewhere."""
        cdef uint64_t credential_id = principal.credential_id
        cdef int64_t now = milliseconds(CLOCK_REALTIME_COARSE)
        self.count_and_admit(
            environ, principal, credential_id, self.uses.row_at(credential_id), now
        )

    cdef int count_and_admit(
        self, dict environ, object principal, uint64_t credential_id, uint64_t *row, int64_t now
    ) except -1:
        """The same for a credential whose uses are counted in `row`; NULL if it has no row yet."""
        cdef uint64_t before
        if row == NULL:
            self.count_use(credential_id)
            self.sightings.see(environ, credential_id, 0)
        else:
            before = count_use(row, now)
            if in_another_second(before, <uint64_t>now):
                check_source(self.sightings, environ, row, <uint64_t>now)
        count(&self.block, AUTHENTICATED)
        set_item(<PyObject *>environ, <PyObject *>PRINCIPAL, <PyObject *>principal)
        return 0


cdef inline Decision admit_open(Check check, PyObject *environ) except FAILED:
    """Count a request for an open route, which has no principal."""
    set_item(environ, <PyObject *>PRINCIPAL, <PyObject *>None)
    count(&check.block, OPEN)
    return ADMITTED


cdef Decision decide(Check check, PyObject *environ, Request *request) except FAILED:
    """Decide a request if possible; for an UNKNOWN secret, compute its digest.

    For an admitted request, the principal is stored in the environ, and its use is counted.
    """
    cdef bint certain = False
    cdef Side side
    cdef const char *secret
    cdef unsigned char *digest = request.digest
    cdef uint64_t *stripe
    cdef Place *place
    cdef uint64_t *row
    cdef uint64_t before
    cdef uint64_t coarse
    cdef int64_t now
    request.secret = NULL
    if not (expected(check.decides) and expected(PyDict_CheckExact(environ))):
        return UNCERTAIN
    if unexpected(check.open_routes.only != NULL):
        side = side_of(&check.open_routes, environ)
        if side == OUTSIDE:
            return admit_open(check, environ)
        if side == UNCLEAR:
            return UNCERTAIN
    prefetch_entry(check, environ, request)
    secret = request.secret
    stripe = request.stripe
    place = request.place
    if unexpected(is_open(&check.open_routes, environ, &certain)):
        return admit_open(check, environ)
    if not (expected(certain) and expected(secret != NULL)):
        return UNCERTAIN
    if unexpected(check.mode != 0) and secret[MARK_SIZE] != check.mode:
        return UNCERTAIN
    if expected(place != NULL):
        fastcache_prefetch(place.row)
        fastcache_prefetch(place.row + SOURCE)
        fastcache_prefetch(place.held)
        fastcache_prefetch(&check.stripe_words[place.account_stripe])
        if unexpected(place.left < 0):
            prefetch_limits(place)
    fastcache_digest(&check.key, <const unsigned char *>secret, SECRET_SIZE, digest)
    if expected(place != NULL):
        if not expected(fastcache_equal_digests(digest, place.digest)):
            place += 1
        coarse = nanoseconds(CLOCK_MONOTONIC_COARSE)
        if (
            expected(fastcache_equal_digests(digest, place.digest))
            and expected(place.held != NULL)
            # The sum decides, as in `is_current`.
            and expected(
                load(stripe) + load(&check.stripe_words[place.account_stripe]) == place.ticket
            )
            and expected(place.left > 0)
            and expected(has_lease(check, coarse))
            and expected(is_running(place.deadline, coarse))
        ):
            now = milliseconds(CLOCK_REALTIME_COARSE)
            if expected(not has_expired(place.expires, now)):
                place.left -= 1
                row = place.row
                before = count_use(row, now)
                count(&check.block, CACHE_HIT)
                count(&check.block, AUTHENTICATED)
                # The insertion may run a key's Python code, after which the place may hold another
                # entry.
                set_item(environ, <PyObject *>PRINCIPAL, place.held)
                if unexpected(in_another_second(before, <uint64_t>now)):
                    check_source(check.sightings, <dict>environ, row, <uint64_t>now)
                return ADMITTED
        if place.left < 0 and fastcache_equal_digests(digest, place.digest):
            return admit_limited(check, environ, request, place, coarse)
    return check.look_up(<dict>environ, request)


cdef Decision admit_limited(
    Check check, PyObject *environ, Request *request, Place *place, uint64_t coarse
) except FAILED:
    """Decide a request of a key with limits by its place in the table of recent hits."""
    cdef CacheEntry entry = <CacheEntry>place.held
    cdef uint64_t *row = place.row
    cdef int64_t now = milliseconds(CLOCK_REALTIME_COARSE)
    cdef uint64_t before
    # Those of the entry, in a cache line that was read already.
    if not (
        load(request.stripe) + load(&check.stripe_words[place.account_stripe]) == place.ticket
        and has_lease(check, coarse)
        and is_running(place.deadline, coarse)
        and not has_expired(place.expires, now)
    ):
        return check.look_up(<dict>environ, request)
    place.left += 1
    if not check.takes(entry, request, now):
        return UNCERTAIN
    before = count_use(row, now)
    count(&check.block, CACHE_HIT)
    count(&check.block, AUTHENTICATED)
    set_item(environ, <PyObject *>PRINCIPAL, <PyObject *>entry.principal)
    if unexpected(in_another_second(before, <uint64_t>now)):
        check_source(check.sightings, <dict>environ, row, <uint64_t>now)
    return limited(check, environ, entry, request)


cdef inline Decision limited(
    Check check, PyObject *environ, CacheEntry entry, Request *request
) except FAILED:
    """Store the outcome of an admitted request. This comes last: no other code removes it again."""
    cdef LimitOutcome outcome = outcome_of(entry, check.tables, request.cost)
    set_item(environ, <PyObject *>LIMITS, <PyObject *>outcome)
    request.limited = <PyObject *>outcome
    return LIMITED
