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

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Protocol

from latchkey.credentials.administrators import Administrator, ConsoleSession
from latchkey.credentials.audit import (
    ALL_ROWS,
    Action,
    Actor,
    AuditEvent,
    AuditFilter,
    AuditRow,
    Head,
)
from latchkey.credentials.audit_check import Verification
from latchkey.credentials.callers import Author
from latchkey.credentials.listing import AsOf, Census, Order, Selection
from latchkey.credentials.models import (
    Change,
    Credential,
    Invalidation,
    Mode,
    NewCredential,
    Rotation,
    Tally,
    UsageRecord,
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

    A change raises CredentialNotFound if there is no such credential of ``mode`` (None: either
    mode). A revoked credential is Refused with the same error, and its lookup key is published once
    more.
    """

    def find(self, api_key: str) -> Credential | None:
        """The credential with this public key, revoked or not."""

    def verifier(self, api_key: str) -> Verifier | None:
        """The verifier of the credential with this key, or None."""

    def page(self, mode: Mode | None, limit: int, before: int | None) -> list[Credential]:
        """At most ``limit`` credentials of ``mode`` (None: both) with ids below ``before``.

        Newest first; ids increase from one credential to the next and are never used again.
        """

    def count(self, mode: Mode) -> int:
        """How many credentials of ``mode`` there are, revoked ones included."""

    def add(
        self, decide: Callable[[Credential | None], NewCredential], action: Action, author: Author
    ) -> Outcome[Credential]:
        """Store a new credential; Refused with DuplicateApiKey if the key exists."""

    def revoke(
        self, api_key: str, mode: Mode | None, now: datetime, author: Author
    ) -> Outcome[Credential]:
        """Mark a credential as revoked at ``now``."""

    def change(
        self,
        api_key: str,
        mode: Mode | None,
        now: datetime,
        decide: Callable[[Credential | None, Credential], Change],
        author: Author,
    ) -> Outcome[Credential]:
        """Give a credential the terms that ``decide`` returns for its present state."""

    def rotate(
        self,
        api_key: str,
        mode: Mode | None,
        now: datetime,
        decide: Callable[[Credential | None, Credential, Credential | None], Rotation],
        author: Author,
    ) -> Outcome[Credential]:
        """Replace a credential by a successor, the result; both changes are stored, or none.

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
    ) -> Outcome[list[NewCredential]]:
        """Store all credentials that are not left out, or none if it raises; returns those stored.

        ``left_out`` is called before the transaction with the hashes of all existing credentials,
        and within it with those added since. It returns the hashes to leave out; they are published
        too, since an import that died after its commit may have stored them. A Refusal that it
        raises becomes the Outcome. ``progress`` is called with the number of further stored
        credentials.

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

    def newest(self, selection: Selection, as_of: AsOf, limit: int | None) -> Iterator[Credential]:
        """The selected credentials, newest first; None is no limit.

        They are read in batches; credentials that are added meanwhile are not included.
        """

    def count(self, selection: Selection, as_of: AsOf) -> int:
        """How many credentials a selection has."""

    def census(self, as_of: AsOf) -> Census:
        """All credentials by status and by concern, as of one state of the store."""


class InvalidationLog(Protocol):
    """The log of changes: each change adds a row for each lookup key, in its own transaction.

    Numbers increase in the order in which changes become visible: after a number has been read, no
    smaller one appears. There may be gaps.
    """

    def after(self, number: int) -> list[Invalidation]:
        """At most 10,000 rows with numbers above ``number``, the oldest first."""

    def prune(self, before: datetime, below: int) -> int:
        """Delete rows older than ``before`` with numbers below ``below``; returns how many.

        The last row is kept: a reader that has seen it recognises the same log by it.
        """


class UsageStore(Protocol):
    """How often credentials were used, and from where, each use exactly once.

    A segment of shared memory counts cumulatively. For each credential a watermark says how much of
    that segment's count is persisted; it moves in the same transaction as the counts.
    """

    def flush(self, segment: str, tallies: Iterable[Tally], now: datetime) -> None:
        """Persist what a segment has counted beyond its watermarks, in batches of transactions.

        ``segment`` is its UUID in hex. Several processes may pass the same or older tallies, and
        may die at any point: nothing is counted twice, and no watermark moves back. Uses count for
        the hour of the last one; ``now`` replaces a missing time. A credential that the store does
        not have only gets a watermark. The SIGHTINGS_KEPT latest addresses of each credential are
        kept.
        """

    def fold(self, before: datetime) -> int:
        """Merge the hours of each day that begins before ``before``, a midnight in UTC.

        A day's uses then count for its first hour. Returns the number of merged rows of other
        hours.
        """

    def record(self, credential_id: int, segment: str) -> UsageRecord:
        """The persisted use of one credential, and the segment's watermark for it.

        All from one state of the store: a tally less the watermark is not persisted yet.
        """

    def forget_other_segments(self, segment: str | None) -> None:
        """Delete the watermarks of every segment but this one (None: of all).

        The other segments must no longer exist: flushed again, they would be counted twice.
        """


class AuditLog(Protocol):
    """The chained log of changes and their actors: append-only, numbered from 1 without gaps.

    The end of the log is also kept outside the database, as its head. A store that was opened
    without a seal reads the log; adding to it raises StoreError.
    """

    def record(self, record: AuditEvent) -> Outcome[None]:
        """Add a row about something that changes nothing else in the store."""

    def record_new_end(self, decide: Callable[[], AuditEvent]) -> Outcome[Head]:
        """Add a row whose head replaces the kept head without comparing the two.

        ``decide`` is called in the transaction, and may read this log: no other row is added
        between those reads and the new row.
        """

    def keep(self, head: Head) -> None:
        """Make the commit secure, then write its head, which must follow the kept one.

        A failure is logged and not raised, because the change is already committed.
        """

    def replace(self, head: Head) -> None:
        """Replace the kept head without comparing the two; raises HeadUnusable."""

    def behind_head(self) -> str | None:
        """Describe the fault if the log lacks the row that the head names; None if it has it.

        A head that cannot be read is a fault too.
        """

    def verify(self) -> Verification:
        """Check every row against the chain, and the last one against the head."""

    def last(self) -> Head:
        """The last row as it is stored; number 0 for a log without rows."""

    def page(self, wanted: AuditFilter, limit: int, before: int | None = None) -> list[AuditRow]:
        """At most ``limit`` rows with numbers below ``before``, newest first, readable."""

    def newest(self, wanted: AuditFilter, limit: int | None) -> Iterator[AuditRow]:
        """The selected rows, newest first, readable; None is no limit."""

    def entries(self, wanted: AuditFilter = ALL_ROWS) -> Iterator[AuditRow]:
        """The selected rows, oldest first, as stored, including rows that are added meanwhile."""

    def count(self, wanted: AuditFilter) -> int:
        """The number of selected rows."""


class AdministratorStore(Protocol):
    """The administrators of the console, their sessions, and the set-up link.

    A method that takes a record adds it to the audit log in its transaction, if it changes
    something. The others change nothing that is recorded.
    """

    def by_name(self, limit: int | None = None) -> Iterator[Administrator]:
        """The administrators by name, read in batches; None is no limit."""

    def count(self) -> int:
        """How many administrators there are."""

    def find(self, name: str) -> Administrator | None:
        """The administrator of this name, disabled or not."""

    def add(
        self, name: str, password_hash: str, now: datetime, record: AuditEvent
    ) -> Outcome[Administrator | None]:
        """Add an administrator; None, without a change, if the name is taken."""

    def remove(self, name: str, record: AuditEvent) -> Outcome[bool]:
        """Remove an administrator and end the sessions; False if there is none."""

    def disable(self, name: str, now: datetime, record: AuditEvent) -> Outcome[bool]:
        """Disable an administrator and end the sessions; False if there is none."""

    def enable(self, name: str, record: AuditEvent) -> Outcome[bool]:
        """Enable an administrator again; False if there is none."""

    def set_password(
        self, administrator_id: int, password_hash: str, record: AuditEvent
    ) -> Outcome[bool]:
        """Replace a password and end the sessions; False if there is no such administrator."""

    def renew_hash(self, found: Administrator, password_hash: str) -> None:
        """Replace a hash by another of the same password, unless the password has changed since."""

    def begin_session(
        self,
        found: Administrator,
        token_hash: bytes,
        now: datetime,
        *,
        oldest: datetime,
        unseen: datetime,
        record: AuditEvent | None,
    ) -> Outcome[bool]:
        """Begin a session, and delete those begun by ``oldest`` or last seen by ``unseen``.

        False, without a change, if the administrator was removed or disabled, or has another
        password than ``found``.
        """

    def session(self, token_hash: bytes) -> ConsoleSession | None:
        """The session with this hash, of an administrator who is not disabled."""

    def sessions(self, administrator_id: int) -> list[ConsoleSession]:
        """The sessions of an administrator, including expired ones; the last seen first."""

    def see_session(self, token_hash: bytes, now: datetime) -> None:
        """Update the time at which a session was last used."""

    def tell(self, token_hash: bytes, messages: Sequence[tuple[str, str]]) -> None:
        """Set the messages that the next page of a session shows: categories and texts."""

    def end_session(self, token_hash: bytes, record: AuditEvent) -> Outcome[None]:
        """End one session, if it has not ended."""

    def end_sessions(self, administrator_id: int, record: AuditEvent) -> Outcome[int]:
        """End every session of an administrator; returns their number. Always recorded."""

    def record(self, record: AuditEvent) -> Outcome[None]:
        """Record an event that changes nothing else, such as a refused sign-in."""

    def offer_set_up(self, token_hash: bytes, expires_at: datetime) -> bool:
        """Make this the only set-up link; False, without a change, if there is an administrator."""

    def set_up_is_offered(self, token_hash: bytes, now: datetime) -> bool:
        """Whether this is the current set-up link and has not expired."""

    def set_up(
        self, token_hash: bytes, name: str, password_hash: str, now: datetime, record: AuditEvent
    ) -> Outcome[Administrator | None]:
        """Use up the set-up link to add the first administrator; None if it is not valid."""


class Store(CredentialStore, Protocol):
    """All aggregates of one database."""

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
    def invalidations(self) -> InvalidationLog:
        """The log of changes."""

    @property
    def audit(self) -> AuditLog:
        """The audit log."""

    @property
    def administrators(self) -> AdministratorStore:
        """The console's administrators."""

    def check(self) -> None:
        """Run a query on the database; raises StoreError if it fails."""

    def look_after(self) -> None:
        """Write a postponed head; raises StoreError if the database has a fault."""

    def close(self) -> None:
        """Close the connections, which must be idle; later calls open new ones."""
