"""The authenticator: it turns a presented credential into a principal or a refusal.

The order of its steps matters. A digest that matches a fresh entry is a hit, in the worker's own
cache or in the one that the workers share. Every other credential is proven first, according to its
kind: a secret is verified with the derivation keys, so a forged one is refused there, by the same
steps whether or not its key exists, and never reaches the database. A proven credential is looked
up in the cache of unknown keys, then in the store, once for all threads.

Coherence: in every cache, an entry keeps a ticket, the sum of the generations that the stripes of
its key and of its account had *before* the database was read. It is valid only while the sum is the
same. To invalidate a key or an account, its stripe is incremented. If other boxes share the
database, an entry is also valid only while this box has a lease (``SharedState.has_lease``).
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

import fastcache
from latchkey.box.counter_names import Count, Use
from latchkey.box.shared import SharedState, Word
from latchkey.check._entry import CacheEntry
from latchkey.check.cache_levels import (
    Backend,
    CompiledLevel,
    Level,
    SharedLevel,
    Unknown,
    new_level,
)
from latchkey.check.flights import SingleFlight
from latchkey.check.headers import Presented
from latchkey.check.limit_levels import plan_of
from latchkey.check.limiting import Limiter
from latchkey.check.request_conditions import REFUSED_BY
from latchkey.credentials.conditions import NO_FACTS, Facts
from latchkey.credentials.kinds import Proof, Sources
from latchkey.credentials.limits import RateLimit
from latchkey.credentials.models import Principal, Verifier
from latchkey.credentials.tokens import hash_secret
from latchkey.errors import (
    ApiError,
    ExpiredCredential,
    InvalidCredential,
    RevokedCredential,
    StoreError,
)
from latchkey.errors.limits import HeaderStyle
from latchkey.store.protocols import LimitStore

UNKNOWN_TTL = 10.0
UNKNOWN_SIZE = 10_000

_SECOND = 1_000_000_000
_MILLISECOND = 1_000_000
_NO_DIGEST = bytes(16)
_WORD = (1 << 64) - 1


def _no_facts() -> Facts:
    return NO_FACTS


class Before(NamedTuple):
    """What was loaded before a read of the store whose account is not known yet.

    ``own`` is the generation of the key's stripe. ``changes`` is the number of changes of any
    account. If both are the same as for another read, no change was published in between that its
    result could depend on.
    """

    own: int
    changes: int


class Authenticator:
    """Checks credentials for one worker. Knows nothing of HTTP or Flask; safe for many threads."""

    def __init__(
        self,
        sources: Sources,
        shared: SharedState,
        *,
        backend: Backend = "fastcache",
        cache_size: int = 100_000,
        cache_ttl: float = 300.0,
        default_limit: RateLimit | None = None,
        quotas: LimitStore | None = None,
        segment: str | None = None,
        header_style: HeaderStyle = "standard",
        timer: Callable[[], int] = time.monotonic_ns,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """``sources`` are the sources that each kind of credential is checked against.

        ``cache_ttl`` is in seconds; ``timer`` gives nanoseconds of CLOCK_MONOTONIC, ``clock``
        nanoseconds since 1970. Only the backend ``fastcache`` uses the cache between workers.
        ``default_limit`` is that of keys without limits of their own. The units of ``quotas`` are
        reserved under the name of ``segment``; with None, every request with a quota fails.
        ``header_style`` is the one by which answers show what is left of limits.
        """
        self._sources = sources
        self.shared = shared
        self._block = shared.claim_block()
        self.counters = self._block.counters
        self.verified = self._block.verified
        self.counts_alone = self._block.alone
        self.latencies = self._block.latencies
        self.digest = shared.digest_for(sources.derivation.ids, repr(default_limit))
        self._default_limit = default_limit
        self.limiter = Limiter(
            shared.limits,
            quotas,
            segment or secrets.token_hex(16),
            self.counters,
            shared.count_refusal,
            style=header_style,
        )
        self._cache_ttl = round(cache_ttl * _SECOND)
        self._unknown_ttl = min(round(UNKNOWN_TTL * _SECOND), self._cache_ttl)
        self._timer = timer
        self._clock = clock
        self._stripes = shared.stripes
        self._words = shared.words
        self.known: Level[CacheEntry] = new_level(backend, cache_size, cache_ttl)
        self.unknown: Level[Unknown] = new_level(backend, UNKNOWN_SIZE, UNKNOWN_TTL)
        self.l2 = shared.l2 if isinstance(self.known, CompiledLevel) else None
        self._between: SharedLevel | None = None if self.l2 is None else SharedLevel(self.l2)
        self._flights: SingleFlight[bytes, Before, CacheEntry | Unknown] = SingleFlight()
        # For the compiled check, which reads only the system's clocks.
        self.compiled: fastcache.TTLCache[str | bytes, CacheEntry] | None = None
        if isinstance(self.known, CompiledLevel):
            if timer is time.monotonic_ns and clock is time.time_ns:
                self.compiled = self.known.cache

    def authenticate(
        self, presented: Presented, facts: Callable[[], Facts] = _no_facts, *, take: int = 0
    ) -> Principal:
        """The principal of a credential, for a request with these facts.

        ``facts`` is called only for a credential with conditions. Raises InvalidCredential, or in
        this order RevokedCredential, DisabledCredential, NotYetValidCredential, ExpiredCredential,
        AddressNotAllowed, EndpointNotAllowed, RateLimited or QuotaExceeded; and StoreError if the
        database was needed and failed, which is never cached. ``take`` is the request's cost; with
        0, limits are not looked at.
        """
        entry = self.find(presented)
        principal = self.result_of(entry, facts)
        if take and entry.limits is not None:
            self.limiter.take(entry.limits, entry.credential_id, take)
        return principal

    def find(self, presented: Presented) -> CacheEntry:
        """The entry of a credential whose secret is right, whether or not it may be used now.

        Raises InvalidCredential; StoreError as ``authenticate`` does. Nothing is counted for the
        credential.
        """
        kind, lookup, secret = presented
        digest = self.digest.digest(secret)
        entry = self.known.get(lookup)
        expected = _NO_DIGEST if entry is None else entry.digest
        if hmac.compare_digest(expected, digest) and entry is not None:
            if self._is_fresh(entry, lookup):
                self.counters.add(Count.CACHE_HIT)
                return entry
        if self._between is not None and kind.is_shared:
            entry = self._between.get(lookup, digest)
            if entry is not None and self._is_fresh(entry, lookup):
                self.known.put(lookup, entry)
                self.counters.add(Count.SHARED_HIT)
                return entry
        if not self.is_proven(presented):
            raise InvalidCredential
        return self.look_up(presented, digest)

    def is_proven(self, presented: Presented) -> bool:
        """Whether a credential is proven, according to its kind; otherwise it is invalid."""
        kind, lookup, secret = presented
        proof = kind.proof(lookup, secret, self._sources)
        if proof is Proof.FORGED:
            self.counters.add(Count.FORGED)
        return proof is Proof.GIVEN

    def report(self) -> None:
        """Report the entries and evictions of the worker's caches in its block of counters."""
        self._block.set_entries(len(self.known), len(self.unknown))
        self._block.set_evictions(self.known.evictions(), self.unknown.evictions())

    def invalidate(self, lookup: str) -> None:
        """Invalidate everything cached under a lookup key; no other function invalidates."""
        self.shared.invalidate(lookup)

    def look_up(self, presented: Presented, digest: bytes) -> CacheEntry:
        """``find`` for a credential that ``is_proven`` and is in no cache of valid ones.

        It is looked up in the cache of unknown keys, then in the store. ``digest`` was computed by
        ``self.digest``.
        """
        lookup = presented.lookup
        self.counters.add(Count.CACHE_MISS)
        if self._between is not None:
            self.counters.add(Count.SHARED_MISS)
        # By digest, not by key: one key has a secret for each derivation key.
        unknown = self.unknown.get(digest)
        if unknown is not None and self._is_still_unknown(unknown, lookup):
            self.counters.add(Count.UNKNOWN_HIT)
            raise InvalidCredential
        if not self.shared.has_lease():
            # Another thread's read may have begun before a change that has been answered since,
            # and of which this box has not heard.
            found = self._load(presented, digest, self._before(lookup))
        else:
            found = self._flights.fly(
                digest,
                lambda _: self._before(lookup),
                lambda _, before: self._load(presented, digest, before),
            )
        if isinstance(found, Unknown):
            raise InvalidCredential
        return found

    def _load(self, presented: Presented, digest: bytes, before: Before) -> CacheEntry | Unknown:
        """The store's result for a secret, read after ``before`` was loaded.

        The cache is read again first, because another flight may have filled it after this thread's
        miss. The result is cached before the flight lands.
        """
        kind, lookup = presented.kind, presented.lookup
        entry = self.known.get(lookup)
        if entry is not None and self._is_fresh(entry, lookup):
            if hmac.compare_digest(entry.digest, digest):
                return entry
        unknown = self.unknown.get(digest)
        if unknown is not None and self._is_still_unknown(unknown, lookup):
            return unknown
        verifier, ticket, read_at = self._read(presented, before)
        if verifier is None:
            unknown = Unknown(ticket, read_at + self._unknown_ttl)
            self.unknown.put(digest, unknown)
            return unknown
        entry = CacheEntry(
            ticket=ticket,
            deadline=read_at + self._cache_ttl,
            digest=digest,
            principal=verifier.principal,
            revoked=verifier.revoked,
            conditions=verifier.conditions,
            limits=plan_of(verifier.limits, self._default_limit, verifier.principal.credential_id),
        )
        self.known.put(lookup, entry)
        if self._between is not None and kind.is_shared:
            self._between.put(lookup, entry)
        return entry

    def _read(self, presented: Presented, before: Before) -> tuple[Verifier | None, int, int]:
        """The verifier of a secret in the store, its ticket, and the time before it was read.

        The account is known only after the SELECT. Its generation is loaded then, and could be from
        after a change that the SELECT did not see. But a change increments ACCOUNTS_CHANGED before
        the stripe. So if that word is loaded after the generation, and has not moved since before
        the SELECT, the generation is from before every such change. If it has moved, the row is
        read again: the account is known, and both generations are from before this read.
        """
        own, changes = before
        account_id, of_account = None, 0
        while True:
            read_at = self._timer()
            verifier = self._select(presented)
            if verifier is None:
                return None, own, read_at
            if verifier.principal.account_id != account_id:
                account_id = verifier.principal.account_id
                of_account = self._stripes.generation(account_id)
                if self._words.value(Word.ACCOUNTS_CHANGED) != changes:
                    continue
            return verifier, own + of_account & _WORD, read_at

    def _select(self, presented: Presented) -> Verifier | None:
        """The verifier of a secret in the store, by one SELECT; None if the secret is unknown."""
        kind, lookup, secret = presented
        self.counters.add(Count.STORE_SELECT)
        try:
            verifier = kind.find(lookup, secret, self._sources)
        except StoreError:
            self.counters.add(Count.STORE_ERROR)
            raise
        if verifier is None or not hmac.compare_digest(verifier.secret_hash, hash_secret(secret)):
            return None
        return verifier

    def _before(self, lookup: str) -> Before:
        """To be loaded before a read; the order of the two does not matter."""
        return Before(self._stripes.generation(lookup), self._words.value(Word.ACCOUNTS_CHANGED))

    def _is_fresh(self, entry: CacheEntry, lookup: str) -> bool:
        # Generations only increase, so an equal sum means that neither has changed.
        own = self._stripes.generation(lookup)
        of_account = self._stripes.generation(entry.principal.account_id)
        is_current = own + of_account & _WORD == entry.ticket
        return is_current and self._timer() < entry.deadline and self.shared.has_lease()

    def _is_still_unknown(self, unknown: Unknown, lookup: str) -> bool:
        # An unknown key has no account, so only its own stripe decides.
        own = self._stripes.generation(lookup)
        is_current = own == unknown.ticket and self._timer() < unknown.deadline
        return is_current and self.shared.has_lease()

    def result_of(self, entry: CacheEntry, facts: Callable[[], Facts] = _no_facts) -> Principal:
        """The result of an entry for a request with these facts; raises as ``authenticate`` does.

        Limits are not checked: the caller takes from them when it admits the request. Each
        request compares the expiry with the wall clock. A refusal is counted.
        """
        if entry.revoked:
            self.shared.count_refusal(entry.credential_id, Use.REVOKED)
            raise RevokedCredential
        evaluation = entry.evaluation
        now = self._clock() // _MILLISECOND
        if evaluation is not None:
            self._raise(entry, evaluation.objection_by_time(now))
        if entry.expires_at is not None and now >= entry.expires_at:
            self.shared.count_refusal(entry.credential_id, Use.EXPIRED)
            raise ExpiredCredential
        if evaluation is not None:
            known = facts()
            self._raise(entry, evaluation.objection_to(known))
            if evaluation.observes(known):
                self.shared.count_refusal(entry.credential_id, Use.OBSERVED)
        return entry.principal

    def _raise(self, entry: CacheEntry, objection: ApiError | None) -> None:
        """Count and raise a refusal by a condition, if there is one."""
        if objection is not None:
            self.shared.count_refusal(entry.credential_id, REFUSED_BY[type(objection)])
            raise objection
