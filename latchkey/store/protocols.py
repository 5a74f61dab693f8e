"""What Latchkey asks of a store: one protocol for each aggregate, with the contract of its methods.

Nothing outside ``latchkey.store`` knows which database is behind them. For all of them:

- Every method raises StoreError when the database fails, whatever the reason. The fault is never
  remembered, so the next call tries again.
- A read sees everything that was committed when it began.
- A change is one transaction: all of it is committed durably when the method returns. An exception
  that is raised within it, also by a function that was handed in, leaves everything as it was.
- Changes take turns: from its first read to its commit, no other change is committed. A method that
  has too many changes before it may raise ChangesBusy, and then has not begun.
- What has to be published of a change is in its Outcome, also where it was found already made, and
  where its commit failed but may have reached the database. Everything else is raised.
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
    Principal,
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
    that key as it is now, None where none makes it. Where one of them raises a Refusal, the Outcome
    is its Refused.

    A change raises CredentialNotFound where there is no credential of ``mode``, None for either.
    One that is revoked is Refused with the same error: its lookup key is published once more.
    """

    def find(self, api_key: str) -> Credential | None:
        """The credential with this public key, revoked or not."""

    def verifier(self, api_key: str) -> Verifier | None:
        """What to check a secret of this key against; None without the key."""

    def page(self, mode: Mode | None, limit: int, before: int | None) -> list[Credential]:
        """At most ``limit`` credentials of ``mode`` (None: both) with ids below ``before``.

        Newest first; ids increase from one credential to the next and are never used again.
        """

    def count(self, mode: Mode) -> int:
        """How many credentials of ``mode`` there are, revoked ones included."""

    def add(
        self, decide: Callable[[Principal | None], NewCredential], action: Action, author: Author
    ) -> Outcome[Credential]:
        """Store a new credential; Refused with DuplicateApiKey where the key exists."""

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
        """Give a credential the terms that ``decide`` returns for it as it is then."""

    def rotate(
        self,
        api_key: str,
        mode: Mode | None,
        now: datetime,
        decide: Callable[[Principal | None, Credential, Credential | None], Rotation],
        author: Author,
    ) -> Outcome[Credential]:
        """Replace a credential by a successor, which is the result; both or neither is stored.

        ``decide`` is also called with the successor that it has already.
        """


class ImportedCredentials(Protocol):
    """Credentials that another system made, found by the SHA-256 of their token."""

    def verifier(self, token_hash: bytes) -> Verifier | None:
        """What to check the token with this SHA-256 against; None where it was not imported."""

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
        """Store all of them that are not left out, or none where it raises: those stored.

        ``left_out`` is called before the transaction with the hash of every credential that is
        there, and in it with those that came since. It returns which hashes are not to be stored;
        they are published too, since an import that died after its commit may have stored them. A
        Refusal that it raises is the answer. ``progress`` is called with how many more are stored.

        One row of the audit log has ``detail``, how many there are, and the first and the last of
        their ids, between which there are no others. Raises DuplicateApiKey.
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

        They are read in batches: those that are added meanwhile are not among them.
        """

    def count(self, selection: Selection, as_of: AsOf) -> int:
        """How many credentials a selection has."""

    def census(self, as_of: AsOf) -> Census:
        """All credentials by status and by concern, as of one state of the store."""


class InvalidationLog(Protocol):
    """The log of changes: each change adds a row for each lookup key, in its own transaction.

    Numbers increase in the order in which changes become visible: whoever has read a number never
    finds a smaller one later that it has not read. They need not be without gaps.
    """

    def after(self, number: int) -> list[Invalidation]:
        """At most 10,000 rows with numbers above ``number``, the oldest first."""

    def prune(self, before: datetime, below: int) -> int:
        """Delete rows older than ``before`` with numbers below ``below``; how many there were.

        Never the last row: whoever has seen it tells by it that this is still the same log.
        """


class UsageStore(Protocol):
    """How often credentials were used, and from where, each use exactly once.

    A segment of shared memory counts cumulatively. For each credential a watermark says how much of
    that segment's count is persisted; it moves in the same transaction as the counts.
    """

    def flush(self, segment: str, tallies: Iterable[Tally], now: datetime) -> None:
        """Persist what a segment has counted beyond its watermarks, in batches of transactions.

        ``segment`` is its uuid in hex. The same or older tallies may come again, from several
        processes at once, and any of them may die anywhere: nothing is counted twice, no watermark
        moves back. Uses count for the hour of the last one; ``now`` stands in for a time that is
        not there yet. A credential that the store does not have only gets a watermark. Of the
        addresses, the SIGHTINGS_KEPT latest of each credential are kept.
        """

    def fold(self, before: datetime) -> int:
        """Add up the hours of each day that begins before ``before``, a midnight in UTC.

        A day's uses then count for its first hour. How many rows of other hours there were.
        """

    def record(self, credential_id: int, segment: str) -> UsageRecord:
        """What is persisted of one credential, and the segment's watermark of it.

        All as of one state of the store: a tally less the watermark is what is not persisted yet.
        """

    def forget_other_segments(self, segment: str | None) -> None:
        """Delete the watermarks of every segment but this one (None: of all).

        The others must be gone: flushed again, they would be counted twice.
        """


class AuditLog(Protocol):
    """The chained log of who did what. Rows are only ever added, numbered from 1 without gaps.

    The end of the log is also kept outside the database, as its head. A store that was opened
    without a seal reads the log; adding to it raises StoreError.
    """

    def record(self, record: AuditEvent) -> Outcome[None]:
        """Add a row about something that changes nothing else in the store."""

    def record_new_end(self, decide: Callable[[], AuditEvent]) -> Outcome[Head]:
        """Add a row whose head replaces the one that is kept, whatever that one says.

        ``decide`` is called in the transaction, and may read this log: nobody else adds a row
        between those reads and the new row.
        """

    def keep(self, head: Head) -> None:
        """Keep a head that follows the one that is kept, after its commit.

        What was committed stands whatever happens here: a failure is logged and not raised.
        """

    def replace(self, head: Head) -> None:
        """Keep a head whatever is kept; raises HeadUnusable where that fails."""

    def behind_head(self) -> str | None:
        """What is wrong where the log lacks the row that the head names; None where it has it.

        A head that cannot be read is wrong as well.
        """

    def verify(self) -> Verification:
        """Check every row against the chain, and the last one against the head."""

    def last(self) -> Head:
        """The last row as it is stored; number 0 for a log without rows."""

    def page(self, wanted: AuditFilter, limit: int, before: int | None = None) -> list[AuditRow]:
        """At most ``limit`` rows with numbers below ``before``, newest first, fit to be shown."""

    def newest(self, wanted: AuditFilter, limit: int | None) -> Iterator[AuditRow]:
        """The rows that are asked for, newest first, fit to be shown; None is no limit."""

    def entries(self, wanted: AuditFilter = ALL_ROWS) -> Iterator[AuditRow]:
        """The rows that are asked for, oldest first, as stored; those added meanwhile included."""

    def count(self, wanted: AuditFilter) -> int:
        """How many rows are asked for."""


class AdministratorStore(Protocol):
    """Who may sign in to the console, their sessions, and the set-up link.

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
        """A new administrator; None, and nothing changed, where the name is taken."""

    def remove(self, name: str, record: AuditEvent) -> Outcome[bool]:
        """Remove an administrator and end the sessions; False where there is none."""

    def disable(self, name: str, now: datetime, record: AuditEvent) -> Outcome[bool]:
        """Disable an administrator and end the sessions; False where there is none."""

    def enable(self, name: str, record: AuditEvent) -> Outcome[bool]:
        """Enable an administrator again; False where there is none."""

    def set_password(
        self, administrator_id: int, password_hash: str, record: AuditEvent
    ) -> Outcome[bool]:
        """Replace a password and end the sessions; False where there is nobody."""

    def renew_hash(self, found: Administrator, password_hash: str) -> None:
        """Replace a hash by another of the same password, unless that has changed since."""

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

        False, and nothing changed, where the administrator is gone or disabled, or has another
        password than ``found``.
        """

    def session(self, token_hash: bytes) -> ConsoleSession | None:
        """The session with this hash, of an administrator who is not disabled."""

    def sessions(self, administrator_id: int) -> list[ConsoleSession]:
        """The sessions of an administrator, also those that have run out; the last seen first."""

    def see_session(self, token_hash: bytes, now: datetime) -> None:
        """Note that a session is in use."""

    def tell(self, token_hash: bytes, messages: Sequence[tuple[str, str]]) -> None:
        """Set what the next page of a session tells: categories and texts."""

    def end_session(self, token_hash: bytes, record: AuditEvent) -> Outcome[None]:
        """End one session, if it has not ended."""

    def end_sessions(self, administrator_id: int, record: AuditEvent) -> Outcome[int]:
        """End every session of an administrator; how many there were. Always recorded."""

    def record(self, record: AuditEvent) -> Outcome[None]:
        """Record what changes nothing, as a sign-in that was refused."""

    def offer_set_up(self, token_hash: bytes, expires_at: datetime) -> bool:
        """Make this the one set-up link; False, and none, where there is an administrator."""

    def set_up_is_offered(self, token_hash: bytes, now: datetime) -> bool:
        """Whether this is the set-up link, and can still be used."""

    def set_up(
        self, token_hash: bytes, name: str, password_hash: str, now: datetime, record: AuditEvent
    ) -> Outcome[Administrator | None]:
        """Use the set-up link up, for the first administrator; None where it cannot be used."""


class Store(CredentialStore, Protocol):
    """All aggregates of one database."""

    @property
    def imported(self) -> ImportedCredentials:
        """Credentials that were imported."""

    @property
    def listing(self) -> Listing:
        """Credentials, searched and sorted."""

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
        """Read something, really; raises StoreError where that fails."""

    def look_after(self) -> None:
        """Keep a head that had to wait; StoreError where the database is not as it should be."""

    def close(self) -> None:
        """Close the connections, all idle by now; further calls open new ones."""
