"""The domain's data: a credential as it is stored, and the principal a request acts as.

Plain frozen values that import nothing of ours: the store returns them, the cache holds them,
views read them. Times are timezone-aware datetimes in UTC with millisecond precision.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

Mode = Literal["live", "test"]
Status = Literal["active", "revoked", "expired"]

MODES: tuple[Mode, ...] = ("live", "test")


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


@dataclass(frozen=True, slots=True)
class Credential:
    """A stored credential. Rows are never deleted and their ids never used again."""

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
