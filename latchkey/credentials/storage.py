"""What the domain asks of whoever stores credentials."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from latchkey.credentials.audit import Action
from latchkey.credentials.callers import Author
from latchkey.credentials.models import (
    Change,
    Credential,
    Mode,
    NewCredential,
    Principal,
    Rotation,
)
from latchkey.credentials.publishing import Outcome


class CredentialStore(Protocol):
    """What the service needs of a store. Every method raises StoreError when the database fails.

    A change is one transaction, which also adds rows to the log of invalidations and to the audit
    log; its outcome says what has to be published. The key that makes it is read in it, before
    anything else, and ``author.confirm`` says whether it still may. ``decide`` is called in it with
    that key as it is now, None where none makes the change; what it raises rolls it back.

    A change is refused with CredentialNotFound where there is no unrevoked credential of ``mode``,
    None for either: the mode is a condition of the query.
    """

    def add(
        self,
        decide: Callable[[Principal | None], NewCredential],
        action: Action,
        author: Author,
    ) -> Outcome[Credential]:
        """Store a new credential, durably; refused with DuplicateApiKey if the key exists."""

    def find(self, api_key: str) -> Credential | None:
        """The credential with this public key, or None."""

    def page(self, mode: Mode | None, limit: int, before: int | None) -> list[Credential]:
        """At most ``limit`` credentials with ids below ``before``, newest first."""

    def revoke(
        self, api_key: str, mode: Mode | None, now: datetime, author: Author
    ) -> Outcome[Credential]:
        """Mark a credential as revoked at ``now``."""

    def change(
        self,
        api_key: str,
        mode: Mode | None,
        now: datetime,
        decide: Callable[[Principal | None, Credential], Change],
        author: Author,
    ) -> Outcome[Credential]:
        """Do what ``decide`` says to a credential: as it is then."""

    def rotate(
        self,
        api_key: str,
        mode: Mode | None,
        now: datetime,
        decide: Callable[[Principal | None, Credential, Credential | None], Rotation],
        author: Author,
    ) -> Outcome[Credential]:
        """Replace a credential: the successor.

        ``decide`` is also called with the successor that it has already. AlreadyRotated and
        KeyExpired, which it raises, are answers of a change that was found already made.
        """
