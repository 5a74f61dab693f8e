"""The protocols of the logs: of invalidations, of requests to make once, and the audit log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Protocol

from latchkey.credentials.audit import (
    ALL_ROWS,
    AuditEvent,
    AuditFilter,
    AuditRow,
    Head,
)
from latchkey.credentials.audit_check import Verification
from latchkey.credentials.audit_erasure import Bounds
from latchkey.credentials.models import Invalidation
from latchkey.credentials.publishing import Outcome


class InvalidationLog(Protocol):
    """The log of invalidations: each change adds a row for each lookup key, in its own transaction.

    Numbers increase in the order in which changes become visible: after a number has been read, no
    smaller one appears. There may be gaps.
    """

    def after(self, number: int) -> list[Invalidation]:
        """At most 10,000 rows with numbers above ``number``, the oldest first."""

    def prune(self, before: datetime, below: int) -> int:
        """Delete rows older than ``before`` with numbers below ``below``; returns how many.

        The last row is kept: a reader that has seen it recognises the same log by it. So is every
        row from the lowest one that a live box has confirmed.
        """


class IdempotencyLog(Protocol):
    """The requests that created a key with an idempotency key, of the last 24 hours."""

    def prune(self, now: datetime) -> int:
        """Delete the entries that are older; returns how many."""


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

    def rechain(self, *, detached: bool = False, unverified: str = "") -> Outcome[int]:
        """Give rows of version 0.2 digests, and all rows new MACs; returns the number of rows.

        A row records it, with what a verification found before. Nothing is done unless the head
        file is of that version and was written with the key, or ``detached`` says that it belongs
        to another state of the log, or ``unverified`` why the rows cannot be verified.
        """

    def expire(self, bounds: Bounds, now: datetime, after: int = 0) -> Outcome[int | None]:
        """Erase expired values of a bounded number of rows after the number ``after``.

        Returns the number to continue after, None at the end. The first call with these bounds that
        erases anything adds a row that records them.
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
