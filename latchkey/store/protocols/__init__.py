"""The protocols of a store: one for each aggregate, with the contract of its methods.

Code outside ``latchkey.store`` does not know which database implements them. For all of them:

- Every method raises StoreError when the database fails, for any reason. A failure is never cached,
  so the next call tries again.
- A read sees everything that was committed when it began.
- A change is one transaction: all of it is committed durably when the method returns. An exception
  that is raised within it, also by a function that was passed in, changes nothing.
- Changes take turns: from its first read to its commit, no other change is committed. If too many
  changes are waiting, a method may raise ChangesBusy before it begins.
- The Outcome of a change has everything to publish, also if the change was already made, or if its
  commit failed but may have reached the database. All other failures are raised.
- Times are timezone-aware in UTC and kept to the millisecond.
- A store may be used from many threads, and not across a fork.
"""

from __future__ import annotations

from typing import Protocol

from latchkey.store.places import ChangePlaces
from latchkey.store.protocols.accounts import AccountStore
from latchkey.store.protocols.administrators import AdministratorStore
from latchkey.store.protocols.boxes import (
    BEHIND_POOLER,
    Box,
    BoxStore,
    Confirmation,
    NewBox,
    Wakeups,
)
from latchkey.store.protocols.credentials import CredentialStore, ImportedCredentials, Listing
from latchkey.store.protocols.limits import LimitStore
from latchkey.store.protocols.logs import AuditLog, IdempotencyLog, InvalidationLog
from latchkey.store.protocols.usage import UsageStore

__all__ = [
    "BEHIND_POOLER",
    "AccountStore",
    "AdministratorStore",
    "AuditLog",
    "Box",
    "BoxStore",
    "Confirmation",
    "CredentialStore",
    "IdempotencyLog",
    "ImportedCredentials",
    "InvalidationLog",
    "LimitStore",
    "Listing",
    "NewBox",
    "Store",
    "UsageStore",
    "Wakeups",
]


class Store(CredentialStore, Protocol):
    """All aggregates of one database."""

    @property
    def accounts(self) -> AccountStore:
        """The accounts."""

    @property
    def imported(self) -> ImportedCredentials:
        """The imported credentials."""

    @property
    def listing(self) -> Listing:
        """Searched and sorted listings of credentials."""

    @property
    def usage(self) -> UsageStore:
        """The use of credentials."""

    @property
    def limits(self) -> LimitStore:
        """The state of quotas."""

    @property
    def invalidations(self) -> InvalidationLog:
        """The log of invalidations."""

    @property
    def places(self) -> ChangePlaces:
        """How many threads may be in a change at once, until it is settled."""

    @property
    def boxes(self) -> BoxStore | None:
        """The boxes that share the database; None for one that only one box can use."""

    @property
    def idempotency(self) -> IdempotencyLog:
        """The requests to make only once."""

    @property
    def audit(self) -> AuditLog:
        """The audit log."""

    @property
    def administrators(self) -> AdministratorStore:
        """The console's administrators."""

    def check(self) -> None:
        """Run a query on the database; raises StoreError if it fails."""

    def scrub(self) -> str | None:
        """Rewrite the database, so that no deleted text is left in it; raises StoreError.

        Returns what is left to do for the operator of the database, in words; None for nothing.

        Changes wait meanwhile. Copies in backups and in SQLite's write-ahead log are not affected.
        """

    def look_after(self) -> None:
        """Write a postponed head; raises StoreError if the database has a fault."""

    def close(self) -> None:
        """Close the connections, which must be idle; later calls open new ones."""
