"""The committed state of a store in memory, and its transactions.

A transaction changes a copy, which replaces the committed state at its end. So a read sees one
committed state, even during a transaction, and an exception changes nothing.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from latchkey.credentials.accounts import INSTANCE_NAME, Account
from latchkey.credentials.administrators import Administrator
from latchkey.credentials.audit import AuditRow
from latchkey.credentials.callers import Author
from latchkey.credentials.idempotency import Earlier
from latchkey.credentials.models import Credential, Invalidation, Tally
from latchkey.credentials.publishing import Made, Outcome, Publication, Refusal, Refused
from latchkey.credentials.quotas import LimitRecord
from latchkey.credentials.times import to_milliseconds
from latchkey.errors import AccountNotFound, StoreError
from latchkey.store.protocols.boxes import Box

T = TypeVar("T")


_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
INSTANCE = Account(1, "acct_" + "i" * 22, INSTANCE_NAME, None, None, _BEGINNING, is_instance=True)


@dataclass(frozen=True, slots=True)
class StoredSession:
    """One sign-in."""

    administrator_id: int
    created_at: datetime
    seen_at: datetime
    messages: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class State:
    """Everything that is stored. The elements of the collections are never changed in place."""

    credentials: dict[int, Credential] = field(default_factory=dict)
    # The numbers, by public key and by the hash of an imported token.
    by_key: dict[str, int] = field(default_factory=dict)
    by_token: dict[bytes, int] = field(default_factory=dict)
    # By id, in the order of creation.
    accounts: dict[str, Account] = field(default_factory=lambda: {INSTANCE.id: INSTANCE})
    invalidations: list[Invalidation] = field(default_factory=list)
    audit: list[AuditRow] = field(default_factory=list)
    # By credential and hour, in milliseconds since 1970; by credential and reason; by credential
    # and address; by segment and credential.
    uses: dict[tuple[int, int], int] = field(default_factory=dict)
    refusals: dict[tuple[int, str], int] = field(default_factory=dict)
    sightings: dict[tuple[int, str], datetime] = field(default_factory=dict)
    watermarks: dict[tuple[str, int], Tally] = field(default_factory=dict)
    # By calling key and idempotency key, with the time.
    once: dict[tuple[int, str], tuple[Earlier, datetime]] = field(default_factory=dict)
    administrators: dict[int, Administrator] = field(default_factory=dict)
    sessions: dict[bytes, StoredSession] = field(default_factory=dict)
    # The hash of its token, and when it expires.
    set_up_link: tuple[bytes, datetime] | None = None
    # The last assigned numbers, which are never reused.
    last_credential: int = 0
    last_invalidation: int = 0
    last_administrator: int = 0
    # Refusals by limits, by credential and hour, as the uses.
    limited: dict[tuple[int, int], int] = field(default_factory=dict, kw_only=True)
    # By id, with the time in milliseconds at which each was last seen.
    boxes: dict[str, tuple[Box, int]] = field(default_factory=dict)
    # By id, and the reserved units by the id of the limit, the epoch and the segment.
    limits: dict[int, LimitRecord] = field(default_factory=dict)
    reservations: dict[tuple[int, int, str], int] = field(default_factory=dict)

    def copy(self) -> State:
        """A copy that can be changed."""
        return State(
            dict(self.credentials),
            dict(self.by_key),
            dict(self.by_token),
            dict(self.accounts),
            list(self.invalidations),
            list(self.audit),
            dict(self.uses),
            dict(self.refusals),
            dict(self.sightings),
            dict(self.watermarks),
            dict(self.once),
            dict(self.administrators),
            dict(self.sessions),
            self.set_up_link,
            self.last_credential,
            self.last_invalidation,
            self.last_administrator,
            dict(self.boxes),
            dict(self.limits),
            dict(self.reservations),
            limited=dict(self.limited),
        )

    def find(self, api_key: str) -> Credential | None:
        """The credential with this public key."""
        return self.credentials.get(self.by_key.get(api_key, 0))

    def account_for(self, account_id: str | None) -> Account:
        """The account of a new credential; None is the instance account."""
        found = self.accounts.get(account_id or INSTANCE.id)
        if found is None or found.erased_at is not None:
            raise AccountNotFound
        return found

    def log(self, lookup: str, at: datetime) -> int:
        """Add a row to the log of invalidations; returns its number."""
        self.last_invalidation += 1
        row = Invalidation(
            self.last_invalidation, lookup, to_milliseconds(at), secrets.randbits(63)
        )
        self.invalidations.append(row)
        return self.last_invalidation


class MemoryDatabase:
    """The common part of all stores with this database."""

    def __init__(self) -> None:
        self.committed = State()
        self._turn = threading.Lock()

    def change(self, transaction: Callable[[State], T], patience: float = 10.0) -> T:
        """Run a transaction on a copy and commit it; ``patience`` limits the wait, in seconds."""
        if not self._turn.acquire(timeout=patience):
            raise StoreError("another change is under way")
        try:
            draft = self.committed.copy()
            result = transaction(draft)
            self.committed = draft
            return result
        finally:
            self._turn.release()

    def publishable(
        self, transaction: Callable[[State], Made[T]], patience: float = 10.0
    ) -> Outcome[T]:
        """The same for a transaction with something to publish."""
        made: Made[T] | None = None

        def noted(draft: State) -> Made[T]:
            nonlocal made
            made = transaction(draft)
            return made

        try:
            return self.change(noted, patience)
        except Refusal as refusal:
            return refusal.refused
        except BaseException as error:
            if made is None:
                raise
            return Refused(error, Publication(made.publication.lookups))


def caller_now(state: State, author: Author) -> Credential | None:
    """The key that makes a change, as it is stored; None for other callers."""
    if author.caller is None:
        return None
    return author.confirm(state.find(author.caller.api_key))
