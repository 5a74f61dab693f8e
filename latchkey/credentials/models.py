"""The domain's data: a credential as it is stored, and the principal a request acts as.

Plain frozen values that import nothing of ours: the store returns them, the cache holds them,
views read them. Times are timezone-aware datetimes in UTC with millisecond precision.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

Mode = Literal["live", "test"]
Status = Literal["active", "revoked", "expired"]
Origin = Literal["derived", "imported"]

MODES: tuple[Mode, ...] = ("live", "test")

REFUSAL_REASONS = ("revoked", "expired", "scope")
COUNTED = ("uses", *REFUSAL_REASONS)
"""What is counted of each credential: the fields of a Tally that are numbers of requests."""
SIGHTINGS_KEPT = 4


def lookup_of(origin: Origin, api_key: str, secret_hash: bytes) -> str:
    """What a stored credential is known by, as its kind has it for a token.

    The public part of a key that its secret contains; of an imported one, its token's hash.
    """
    return api_key[3:] if origin == "derived" else secret_hash.hex()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request acts as, once its credential has been found good.

    ``credential_id`` is the row's number in the store, ``account_id`` names whom the key speaks
    for and outlives a rotation, ``expires_at`` is None for a key without an end.
    """

    credential_id: int
    account_id: str
    api_key: str
    mode: Mode
    name: str | None
    scopes: frozenset[str]
    expires_at: datetime | None


class Verifier(NamedTuple):
    """What a secret is checked against, and whom it stands for where it is the right one.

    ``secret_hash`` is SHA-256 of the secret, 32 bytes.
    """

    secret_hash: bytes
    revoked: bool
    principal: Principal

    def __repr__(self) -> str:
        return f"Verifier(principal={self.principal!r}, revoked={self.revoked!r})"


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential about to be stored; ``secret_hash`` is SHA-256 of the secret, 32 bytes."""

    api_key: str
    secret_hash: bytes = field(repr=False)
    derivation_id: str
    account_id: str
    mode: Mode
    name: str | None
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    origin: Origin = "derived"

    @property
    def lookup(self) -> str:
        """What caches and stripes know the credential by; see ``lookup_of``."""
        return lookup_of(self.origin, self.api_key, self.secret_hash)


@dataclass(frozen=True, slots=True)
class Credential:
    """A stored credential. Rows are never deleted and their ids never used again.

    ``rotated_to`` is the key of its successor, and ``original_expires_at`` means something only
    where there is one: when the credential was to end before it was rotated. ``last_used_at`` and
    ``first_used_at`` are what has been written down so far; what is counted but not written yet
    comes on top.
    """

    id: int
    api_key: str
    secret_hash: bytes
    derivation_id: str
    account_id: str
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

    @property
    def lookup(self) -> str:
        """What caches and stripes know the credential by; see ``lookup_of``."""
        return lookup_of(self.origin, self.api_key, self.secret_hash)

    def status(self, now: datetime) -> Status:
        """What the credential is at ``now``; a revoked one stays revoked past its expiry."""
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
        )

    def __repr__(self) -> str:
        # The hash of a secret is no secret, but it has no business in a log either.
        return f"Credential(id={self.id}, api_key={self.api_key!r}, mode={self.mode!r})"


@dataclass(frozen=True, slots=True)
class Change:
    """New terms of a credential. None leaves the name or the scopes as they are.

    ``expires_at`` counts where ``sets_expiry``; None is then no end.
    """

    name: str | None = None
    scopes: frozenset[str] | None = None
    sets_expiry: bool = False
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rotation:
    """A credential's replacement: its successor, and when the old one ends (None: never)."""

    successor: NewCredential
    expires_at: datetime | None


class Invalidation(NamedTuple):
    """A row of the log of changes: what was remembered under ``lookup`` has ended.

    ``at`` is in milliseconds since 1970, by the clock of whoever made the change.
    """

    number: int
    lookup: str
    at: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """An address that a credential was used from, and when it last was."""

    address: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Tally:
    """What a segment has counted for one credential since it was made: cumulative.

    ``last_used`` and ``first_used`` are in milliseconds since 1970, 0 where it was never used;
    ``revoked``, ``expired`` and ``scope`` are refusals although the secret was right. ``source``
    is a hash of where the last use came from, and ``sightings`` the last addresses, newest first.
    """

    credential_id: int
    uses: int = 0
    last_used: int = 0
    revoked: int = 0
    expired: int = 0
    scope: int = 0
    first_used: int = 0
    source: int = 0
    sightings: tuple[Sighting, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """What is written down of a credential's use, and how much of one segment's tally that has.

    ``hours`` maps the beginning of an hour to the uses in it, ``refusals`` a reason to how many;
    ``sightings`` are the last addresses, newest first.
    """

    hours: dict[datetime, int]
    refusals: dict[str, int]
    watermark: Tally
    sightings: tuple[Sighting, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """The use of a credential up to the last request.

    ``hours`` maps the beginning of an hour to the uses in it, hours without any left out;
    ``refusals`` each reason to how often, although the secret was right. ``sightings`` are the
    SIGHTINGS_KEPT addresses it was last used from, newest first; several within a second count as
    one.
    """

    hours: dict[datetime, int]
    last_used_at: datetime | None
    refusals: dict[str, int]
    first_used_at: datetime | None = None
    sightings: tuple[Sighting, ...] = ()

    @property
    def uses(self) -> int:
        """All uses there ever were."""
        return sum(self.hours.values())
