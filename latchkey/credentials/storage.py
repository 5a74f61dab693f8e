"""What the domain asks of whoever stores credentials."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from latchkey.credentials.audit import Head, Trail
from latchkey.credentials.models import Change, Credential, Mode, NewCredential, Rotation


class CredentialStore(Protocol):
    """What the service needs of a store. Every method raises StoreError when the database fails.

    A change also adds rows to the log of invalidations and to the audit log, in its own
    transaction, and says in its trail which.
    """

    def add(self, new: NewCredential, trail: Trail) -> Credential:
        """Store a new credential, durably; raises DuplicateApiKey if the key exists."""

    def find(self, api_key: str) -> Credential | None:
        """The credential with this public key, or None."""

    def revoke(self, api_key: str, mode: Mode | None, now: datetime, trail: Trail) -> bool:
        """Mark an unrevoked credential of ``mode`` (None: of either); False where there is none."""

    def page(self, mode: Mode | None, limit: int, before: int | None) -> list[Credential]:
        """At most ``limit`` credentials with ids below ``before``, newest first."""

    def change(
        self,
        api_key: str,
        mode: Mode | None,
        now: datetime,
        decide: Callable[[Credential], Change],
        trail: Trail,
    ) -> Credential | None:
        """Do what ``decide`` says to an unrevoked credential, in one transaction; None without."""

    def rotate(
        self,
        api_key: str,
        mode: Mode | None,
        now: datetime,
        decide: Callable[[Credential, Credential | None], Rotation],
        trail: Trail,
    ) -> Credential | None:
        """Replace an unrevoked credential, in one transaction: the successor, or None without.

        ``decide`` is called with the credential and the successor that it has already.
        """

    def keep_head(self, head: Head | None) -> None:
        """Note how far the audit log goes, after the commit; what fails there is logged."""
