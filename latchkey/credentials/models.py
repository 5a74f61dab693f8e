"""The domain's data: stored credentials, and the principal of a request.

Plain frozen values: the store returns them, the cache holds them,
views read them. Times are timezone-aware datetimes in UTC with millisecond precision.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from latchkey.credentials.accounts import Account
from latchkey.credentials.conditions import NO_CONDITIONS, Conditions, ConditionTerms
from latchkey.credentials.limits import AppliedLimits, Limit, SharedLimits, StoredLimit
from latchkey.credentials.scopes import permits, selectors

Mode = Literal["live", "test"]
Status = Literal["active", "revoked", "expired"]
Origin = Literal["derived", "imported"]

MODES: tuple[Mode, ...] = ("live", "test")

REFUSAL_REASONS = (
    *("revoked", "expired", "scope"),
    *("disabled", "not_yet_valid", "address", "endpoint", "observed"),
    *("rate_limited", "quota_exceeded"),
)
LIMIT_REASONS = ("rate_limited", "quota_exceeded")
"""The refusals by limits, which are also counted by hour."""
COUNTED = ("uses", *REFUSAL_REASONS)
"""The counted fields of a Tally: numbers of requests."""
SIGHTINGS_KEPT = 4


def lookup_of(origin: Origin, api_key: str, secret_hash: bytes) -> str:
    """The lookup key of a stored credential, as its kind computes it for a token.

    It is the public part that a key and its secret share; for an imported one, the token's hash.
    """
    return api_key[3:] if origin == "derived" else secret_hash.hex()


def effective(conditions: Conditions, account_is_disabled: bool) -> Conditions:
    """The conditions of a key with those of its account."""
    return replace(conditions, enabled=False) if account_is_disabled else conditions


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity of a request whose credential is valid.

    ``credential_id`` is the row's number in the store, ``account_id`` names the party that the key
    speaks for and is kept by rotations, ``expires_at`` is None for a key that does not expire.
    ``external_id`` is the account's id in the application, ``metadata_text`` the account's metadata
    as JSON; each is None if the account has none. ``in_instance_account``: the account is the one
    that the instance itself has.
    """

    credential_id: int
    account_id: str
    api_key: str
    mode: Mode
    name: str | None
    scopes: frozenset[str]
    expires_at: datetime | None
    external_id: str | None = None
    metadata_text: str | None = None
    in_instance_account: bool = False

    @property
    def account_metadata(self) -> dict[str, Any]:
        """The metadata of the account, a new object each time; empty if there is none."""
        if self.metadata_text is None:
            return {}
        metadata: dict[str, Any] = json.loads(self.metadata_text)
        return metadata

    def permits(self, scope: str, of: str | None = None) -> bool:
        """Whether the scopes include ``scope``, on the object ``of`` if given.

        Without an object, only a scope without a selector is sufficient. An object is compared as
        it is; an empty one is never permitted. Raises ValueError for a malformed scope.
        """
        return permits(self.scopes, scope, of)

    def selectors(self, scope: str) -> tuple[str, ...]:
        """The objects on which the scopes include ``scope``, for a query of what a view may show.

        Names and prefixes that end in ``*``, in order: ``("eu-17", "us-*")``. ``("*",)`` is every
        object, and an empty tuple none. Raises ValueError unless ``scope`` is
        ``<resource>:<action>``.
        """
        return selectors(self.scopes, scope)


class Verifier(NamedTuple):
    """The stored hash that a secret is checked against, and the principal of the correct secret.

    ``secret_hash`` is SHA-256 of the secret, 32 bytes. ``limits`` is None for a key that has none,
    whose account has none, and that shares those of no other key.
    """

    secret_hash: bytes
    revoked: bool
    principal: Principal
    conditions: Conditions = NO_CONDITIONS
    limits: AppliedLimits | None = None

    def __repr__(self) -> str:
        return f"Verifier(principal={self.principal!r}, revoked={self.revoked!r})"


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential about to be stored; ``secret_hash`` is SHA-256 of the secret, 32 bytes.

    ``account_id`` None stands for the instance account. ``limits_of`` is the id of the credential
    whose limits it shares; None if it gets ``limits`` of its own.
    """

    api_key: str
    secret_hash: bytes = field(repr=False)
    derivation_id: str
    account_id: str | None
    mode: Mode
    name: str | None
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    origin: Origin = "derived"
    conditions: Conditions = NO_CONDITIONS
    metadata: str | None = None
    limits: tuple[Limit, ...] = ()
    limits_of: int | None = None

    @property
    def lookup(self) -> str:
        """The key of the credential in caches and stripes; see ``lookup_of``."""
        return lookup_of(self.origin, self.api_key, self.secret_hash)


@dataclass(frozen=True, slots=True)
class Credential:
    """A stored credential. Rows are never deleted and their ids never used again.

    ``rotated_to`` is the key of its successor. ``original_expires_at``, meaningful only with a
    successor, is the expiry before the rotation. ``last_used_at`` and ``first_used_at`` are the
    persisted times; uses that are counted but not yet persisted are not included. ``limits`` are
    its own; if it has ``shared_limits``, those apply instead.
    """

    id: int
    api_key: str
    secret_hash: bytes
    derivation_id: str
    account: Account
    mode: Mode
    name: str | None
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    rotated_to: str | None
    original_expires_at: datetime | None
    last_used_at: datetime | None
    first_used_at: datetime | None
    origin: Origin = "derived"
    conditions: Conditions = NO_CONDITIONS
    metadata: str | None = None
    limits: tuple[StoredLimit, ...] = ()
    shared_limits: SharedLimits | None = None

    @property
    def lookup(self) -> str:
        """The key of the credential in caches and stripes; see ``lookup_of``."""
        return lookup_of(self.origin, self.api_key, self.secret_hash)

    @property
    def limits_of(self) -> int | None:
        """The id of the credential whose limits it shares."""
        return None if self.shared_limits is None else self.shared_limits.credential_id

    @property
    def applied_limits(self) -> AppliedLimits:
        """The limits that requests must pass, apart from the default limit."""
        shared, account = self.shared_limits, self.account.limits.of(self.mode)
        if shared is None:
            return AppliedLimits(self.limits, account, self.id)
        return AppliedLimits(shared.limits, account, shared.credential_id)

    @property
    def checked_limits(self) -> AppliedLimits | None:
        """The limits of its verifier."""
        applied = self.applied_limits
        return applied if applied.own or applied.account or self.shared_limits else None

    @property
    def account_id(self) -> str:
        """The id of the account that the credential belongs to."""
        return self.account.id

    @property
    def effective_conditions(self) -> Conditions:
        """The conditions of a request: a key of a disabled account counts as disabled."""
        return effective(self.conditions, self.account.disabled_at is not None)

    def status(self, now: datetime) -> Status:
        """The status at ``now``; a revoked credential stays revoked after its expiry."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and now >= self.expires_at:
            return "expired"
        return "active"

    def rotate_by(self, rotation_age: timedelta) -> datetime:
        """When the credential should have been replaced by a new one."""
        return self.created_at + rotation_age

    def principal(self) -> Principal:
        """The principal that a request with this credential acts as."""
        return Principal(
            credential_id=self.id,
            account_id=self.account_id,
            api_key=self.api_key,
            mode=self.mode,
            name=self.name,
            scopes=self.scopes,
            expires_at=self.expires_at,
            external_id=self.account.external_id,
            metadata_text=self.account.metadata,
            in_instance_account=self.account.is_instance,
        )

    def __repr__(self) -> str:
        # The hash of a secret is not a secret, but does not belong in a log either.
        return f"Credential(id={self.id}, api_key={self.api_key!r}, mode={self.mode!r})"


@dataclass(frozen=True, slots=True)
class Change:
    """New terms of a credential. None leaves the name or the scopes as they are.

    ``expires_at`` is used only if ``sets_expiry`` is true; None then means no expiry.
    ``conditions`` has those that change. ``metadata`` is JSON; an empty text removes it, and None
    leaves it. ``limits`` replace those that apply; a key that shared the limits of another key gets
    its own. ``keeps_totals``: a quota in total keeps what was spent of it; otherwise setting it
    begins it anew. ``renewed`` are the names of the quotas to begin anew, of those that apply.
    """

    name: str | None = None
    scopes: frozenset[str] | None = None
    sets_expiry: bool = False
    expires_at: datetime | None = None
    conditions: ConditionTerms = field(default_factory=ConditionTerms)
    metadata: str | None = None
    limits: tuple[Limit, ...] | None = None
    keeps_totals: bool = False
    renewed: frozenset[str] = frozenset()

    def conditions_after(self, present: Conditions) -> Conditions:
        """The conditions of a credential that had the ``present`` ones."""
        return replace(present, **self.conditions)

    def metadata_after(self, present: str | None) -> str | None:
        """The metadata of a credential that had the ``present`` one."""
        return present if self.metadata is None else (self.metadata or None)


@dataclass(frozen=True, slots=True)
class Rotation:
    """A credential's replacement: its successor, and when the old one expires (None: never)."""

    successor: NewCredential
    expires_at: datetime | None


class Invalidation(NamedTuple):
    """A row of the log of invalidations: entries cached under ``lookup`` are invalid.

    ``at`` is in milliseconds since 1970, by the clock of the process that made the change.
    ``nonce`` is random: a row with the same number in another history of the log has another one.
    """

    number: int
    lookup: str
    at: int
    nonce: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """An address that a credential was used from, and when it last was."""

    address: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Tally:
    """The cumulative counts of a segment for one credential.

    ``last_used`` and ``first_used`` are in milliseconds since 1970, 0 if it was never used;
    the fields named in REFUSAL_REASONS are refusals despite a correct secret, and ``observed`` are
    uses from a network outside those that are observed. ``source`` is a
    hash of the address of the last use, and ``sightings`` are the last addresses, newest first.
    """

    credential_id: int
    uses: int = 0
    last_used: int = 0
    revoked: int = 0
    expired: int = 0
    scope: int = 0
    first_used: int = 0
    source: int = 0
    disabled: int = 0
    not_yet_valid: int = 0
    address: int = 0
    endpoint: int = 0
    observed: int = 0
    rate_limited: int = 0
    quota_exceeded: int = 0
    sightings: tuple[Sighting, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """The persisted use of a credential, and the part of one segment's tally that it includes.

    ``hours`` maps the beginning of an hour to the uses in it, ``refusals`` a reason to how many,
    and ``limited`` the beginning of an hour to the refusals by limits in it; ``sightings`` are the
    last addresses, newest first.
    """

    hours: dict[datetime, int]
    refusals: dict[str, int]
    watermark: Tally
    sightings: tuple[Sighting, ...] = ()
    limited: dict[datetime, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AccountUsageRecord:
    """The persisted use of an account's credentials in one mode, summed.

    ``hours``, ``refusals`` and ``limited`` are as in UsageRecord. ``credential_ids`` are the
    numbers of the credentials, and ``watermarks`` one segment's watermarks of those that have one.
    """

    hours: dict[datetime, int]
    refusals: dict[str, int]
    credential_ids: list[int]
    watermarks: dict[int, Tally]
    last_used_at: datetime | None
    first_used_at: datetime | None
    limited: dict[datetime, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """The use of a credential up to the last request.

    ``hours`` maps the beginning of an hour to the uses in it, without empty hours; ``refusals``
    maps each reason to the refusals despite a correct secret. ``limited`` maps the beginning of an
    hour to the refusals by limits in it. ``sightings`` are the SIGHTINGS_KEPT
    addresses it was last used from, newest first; several within a second count as one.
    """

    hours: dict[datetime, int]
    last_used_at: datetime | None
    refusals: dict[str, int]
    first_used_at: datetime | None = None
    sightings: tuple[Sighting, ...] = ()
    limited: dict[datetime, int] = field(default_factory=dict)

    @property
    def uses(self) -> int:
        """The total number of uses."""
        return sum(self.hours.values())
