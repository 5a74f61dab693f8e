"""What can be done to credentials: register, issue, find, list, revoke.

Every change follows one order: commit, then invalidate, then answer. A path that finds the change
already made invalidates too, so that a retry after a crash finishes the job.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final, Protocol

from app.credentials import base62
from app.credentials.derivation import DerivationKey, DerivationKeys
from app.credentials.models import Credential, Mode, NewCredential, Principal
from app.credentials.scopes import FULL_ACCESS, require_within
from app.credentials.tokens import (
    MalformedToken,
    lookup_key,
    mode_of,
    new_api_key,
    read_secret,
    redact_secrets,
)
from app.errors import (
    CredentialNotFound,
    InsufficientScope,
    InvalidField,
    NotDerived,
)


class Inherited(Enum):
    """The mark for what a request leaves out; None means "no expiry", which is not the same."""

    INHERITED = "the caller's own"


INHERITED: Final = Inherited.INHERITED


class CredentialStore(Protocol):
    """What the service needs of a store. Every method raises StoreError when the database fails."""

    def add(self, new: NewCredential) -> Credential:
        """Store a new credential, durably; raises DuplicateApiKey if the key exists."""

    def find(self, api_key: str) -> Credential | None:
        """The credential with this public key, or None."""

    def revoke(self, api_key: str, mode: Mode | None, now: datetime) -> bool:
        """Mark an unrevoked credential of ``mode`` (None: of either); False where there is none."""

    def page(self, mode: Mode | None, limit: int, before: int | None) -> list[Credential]:
        """At most ``limit`` credentials with ids below ``before``, newest first."""


@dataclass(frozen=True, slots=True, repr=False)
class IssuedCredential:
    """A credential just made, with its secret: the only moment at which we know it."""

    credential: Credential
    secret: str

    def __repr__(self) -> str:
        return f"IssuedCredential({self.credential.api_key!r})"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing; ``next_before`` continues it, None at the end."""

    credentials: list[Credential]
    next_before: int | None


class CredentialService:
    """The life of credentials, over a store, the derivation keys and the one invalidator."""

    def __init__(
        self,
        store: CredentialStore,
        derivation: DerivationKeys,
        invalidate: Callable[[str], None],
    ) -> None:
        """``invalidate`` takes a lookup key and ends every cached result under it."""
        self._store = store
        self._derivation = derivation
        self._invalidate = invalidate

    def register(self, api_key: str, secret: str, name: str | None) -> Credential:
        """Store a pair that the vendor made elsewhere, with full scope and no expiry.

        ``api_key`` is well-formed, ``secret`` has the right shape. Raises NotDerived unless a
        current derivation key made the pair, then DuplicateApiKey if it is known already.
        InvalidField, before either, for a name that holds a secret.
        """
        _require_no_secret(name)
        try:
            parts = read_secret(secret)
        except MalformedToken:
            raise NotDerived from None
        maker = self._derivation.registrar_of(parts)
        if maker is None or parts.api_key != api_key:
            raise NotDerived
        return self._add(maker, api_key, secret, name, FULL_ACCESS, None)

    def issue(
        self,
        *,
        name: str,
        caller: Principal | None,
        mode: Mode | Inherited = INHERITED,
        scopes: frozenset[str] | Inherited = INHERITED,
        expires_at: datetime | None | Inherited = INHERITED,
    ) -> IssuedCredential:
        """Make a new pair for ``caller``, or for the box's operator where that is None.

        What is INHERITED is the caller's own; the operator has everything, without expiry, and
        makes live keys. Raises InsufficientScope for more than the caller has, InvalidField for
        an expiry in the past and for a name that holds a secret.
        """
        _require_no_secret(name)
        if isinstance(expires_at, datetime) and expires_at <= utc_now():
            raise InvalidField("expires_at", "must lie in the future")
        if mode is INHERITED:
            mode = caller.mode if caller else "live"
        if scopes is INHERITED:
            scopes = caller.scopes if caller else FULL_ACCESS
        if expires_at is INHERITED:
            expires_at = caller.expires_at if caller else None
        if caller is not None:
            _require_within(caller, mode, scopes, expires_at)
        maker = self._derivation.newest
        api_key = new_api_key(mode)
        secret = maker.derive(api_key)
        credential = self._add(maker, api_key, secret, name, scopes, expires_at)
        return IssuedCredential(credential, secret)

    def derive_pair(self, mode: Mode) -> tuple[str, str]:
        """A derived pair that is stored nowhere: what the vendor's side does."""
        api_key = new_api_key(mode)
        return api_key, self._derivation.newest.derive(api_key)

    def get(self, api_key: str, mode: Mode | None) -> Credential:
        """One credential of ``mode`` (None: of either); raises CredentialNotFound."""
        credential = self._store.find(api_key)
        if credential is None or (mode is not None and credential.mode != mode):
            raise CredentialNotFound
        return credential

    def page(self, mode: Mode | None, limit: int, before: int | None = None) -> Page:
        """A page of the credentials of ``mode``, newest first, ``limit`` at most."""
        rows = self._store.page(mode, limit + 1, before)
        more = len(rows) > limit
        rows = rows[:limit]
        return Page(rows, rows[-1].id if more else None)

    def revoke(self, api_key: str, mode: Mode | None) -> None:
        """End a credential for good; raises CredentialNotFound if there is none to end.

        Effective before it returns.
        """
        try:
            revoked = self._store.revoke(api_key, mode, utc_now())
        finally:
            # Also when the store failed: the commit may have reached the file before that.
            self._invalidate(lookup_key(api_key))
        if not revoked:
            raise CredentialNotFound

    def _add(
        self,
        maker: DerivationKey,
        api_key: str,
        secret: str,
        name: str | None,
        scopes: frozenset[str],
        expires_at: datetime | None,
    ) -> Credential:
        new = NewCredential(
            api_key=api_key,
            secret_hash=hash_secret(secret),
            derivation_id=maker.id,
            account_id=f"acct_{base62.encode(secrets.randbits(128), 22)}",
            mode=mode_of(api_key),
            name=name,
            scopes=scopes,
            created_at=utc_now(),
            expires_at=expires_at,
        )
        try:
            return self._store.add(new)
        finally:
            # Also for a duplicate: the row may come from a call that died before it got here.
            self._invalidate(lookup_key(api_key))


def hash_secret(secret: str) -> bytes:
    """SHA-256 of a secret: all that is stored of it. 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def utc_now() -> datetime:
    """The wall clock in UTC, cut to the millisecond that the store keeps."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _require_no_secret(name: str | None) -> None:
    """Refuse a name into which a secret was pasted: names are stored, listed and shown."""
    if name is not None and redact_secrets(name) != name:
        raise InvalidField("name", "holds what looks like an API secret")


def _require_within(
    caller: Principal, mode: Mode, scopes: frozenset[str], expires_at: datetime | None
) -> None:
    """Raise InsufficientScope where a caller would give more than it has."""
    if mode != caller.mode:
        raise InsufficientScope(None, f"A {caller.mode} key cannot create {mode} keys")
    require_within(scopes, caller.scopes)
    if caller.expires_at is not None and (expires_at is None or expires_at > caller.expires_at):
        raise InsufficientScope(None, "A key cannot give a later expiry than its own")
