"""The protocols of the store of credentials, and of its listings and imports."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from latchkey.credentials.accounts import Account
from latchkey.credentials.audit import Action, Actor
from latchkey.credentials.callers import Author
from latchkey.credentials.listing import (
    COUNTED,
    AsOf,
    Census,
    Found,
    LimitedKeys,
    Order,
    Selection,
)
from latchkey.credentials.models import (
    Change,
    Credential,
    Mode,
    NewCredential,
    Rotation,
    Verifier,
)
from latchkey.credentials.publishing import Outcome


class CredentialStore(Protocol):
    """Credentials: looked up, paged through, and changed.

    Each change adds a row to the log of invalidations for each lookup key that it touches, and a
    row to the audit log. The key that makes it is read in the transaction before anything else, and
    ``author.confirm`` decides whether it still may. ``decide`` is called in the transaction with
    that key as just read, or None if no key makes the change. If one of the two raises a Refusal,
    the Outcome is its Refused.

    If the author's request is one to be made only ``once``, ``add`` and ``rotate`` record the key
    that they make, in the same transaction. A repeated request is Refused with AlreadyCreated for
    24 hours, and publishes the same lookup keys; another request with its idempotency key is
    Refused with IdempotencyKeyReused. Both come after the rights of the caller.

    A change raises CredentialNotFound if there is no such credential within the author's reach,
    which is read in the transaction. A revoked credential is Refused with the same error, and its
    lookup key is published once more.
    """

    def find(self, api_key: str) -> Credential | None:
        """The credential with this public key, revoked or not."""

    def verifier(self, api_key: str) -> Verifier | None:
        """The verifier of the credential with this key, or None."""

    def page(
        self, mode: Mode | None, limit: int, before: int | None, account_id: str | None = None
    ) -> list[Credential]:
        """At most ``limit`` credentials of ``mode`` (None: both) with ids below ``before``.

        Those of one account, unless ``account_id`` is None.

        Newest first; ids increase from one credential to the next and are never used again.
        """

    def count(self, mode: Mode) -> int:
        """How many credentials of ``mode`` there are, revoked ones included."""

    def add(
        self, decide: Callable[[Credential | None], NewCredential], action: Action, author: Author
    ) -> Outcome[Credential]:
        """Store a new credential; Refused with DuplicateApiKey if the key exists.

        Raises AccountNotFound if its account does not exist or was erased.
        """

    def revoke(self, api_key: str, now: datetime, author: Author) -> Outcome[Credential]:
        """Mark a credential as revoked at ``now``."""

    def change(
        self,
        api_key: str,
        now: datetime,
        decide: Callable[[Credential | None, Credential], Change],
        author: Author,
    ) -> Outcome[Credential]:
        """Give a credential the terms that ``decide`` returns for its present state."""

    def rotate(
        self,
        api_key: str,
        now: datetime,
        decide: Callable[[Credential | None, Credential, Credential | None], Rotation],
        author: Author,
    ) -> Outcome[Credential]:
        """Replace a credential by a successor, the result; both changes are stored, or none.

        Raises InsufficientScope, before ``decide`` is called, for a credential that has more rights
        than the caller.

        ``decide`` also gets the successor that the credential already has, or None.
        """


class ImportedCredentials(Protocol):
    """Credentials that another system made, found by the SHA-256 of their token."""

    def verifier(self, token_hash: bytes) -> Verifier | None:
        """The verifier of the imported token with this SHA-256, or None."""

    def hashes(self) -> Iterator[bytes]:
        """The SHA-256 of each token, read in batches."""

    def add_all(
        self,
        new: Sequence[NewCredential],
        left_out: Callable[[Collection[bytes]], Collection[bytes]],
        detail: dict[str, object],
        actor: Actor,
        progress: Callable[[int], None],
        *,
        confirm: Callable[[Mapping[str, Account]], None] = lambda accounts: None,
    ) -> Outcome[list[NewCredential]]:
        """Store all credentials that are not left out, or none if it raises; returns those stored.

        ``left_out`` is called before the transaction with the hashes of all existing credentials,
        and within it with those added since. It returns the hashes to leave out; they are published
        too, since an import that died after its commit may have stored them. A Refusal that it
        raises becomes the Outcome. ``progress`` is called with the number of further stored
        credentials. ``confirm`` is called within the transaction with the accounts that are named
        by the new credentials, by id, as just read; what it raises is raised.

        One row of the audit log has ``detail``, the number of credentials, and the first and the
        last of their ids; no other credential has an id between them. Raises DuplicateApiKey.
        """


class Listing(Protocol):
    """Finds, sorts and counts credentials for a person. It changes nothing."""

    def page(
        self, selection: Selection, order: Order, as_of: AsOf, *, limit: int, offset: int = 0
    ) -> list[Credential]:
        """At most ``limit`` of the selected credentials, after the first ``offset`` of them.

        Names are compared without regard to the case of ASCII letters; a search finds letters of
        any alphabet in either case.
        """

    def found(
        self,
        selection: Selection,
        order: Order,
        as_of: AsOf,
        *,
        limit: int,
        offset: int = 0,
        counted: int = COUNTED,
    ) -> Found:
        """A page as ``page`` returns it, with the number of all selected credentials.

        Of a selection with a search or a concern, ``counted`` credentials are counted at most.
        """

    def newest(self, selection: Selection, as_of: AsOf, limit: int | None) -> Iterator[Credential]:
        """The selected credentials, newest first; None is no limit.

        They are read in batches; credentials that are added meanwhile are not included.
        """

    def count(self, selection: Selection, as_of: AsOf) -> int:
        """How many credentials a selection has."""

    def census(self, as_of: AsOf) -> Census:
        """All credentials by status and by concern, as of one state of the store."""

    def limited(self, since: datetime, most: int) -> LimitedKeys:
        """The credentials that limits refused in the hours from ``since`` on, ``most`` of them.

        Refusals are persisted within seconds. Revoked credentials are included.
        """
