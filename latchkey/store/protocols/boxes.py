"""The protocol of the boxes that share a database, and of what tells them about changes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Protocol

from latchkey.credentials.models import Invalidation

BEHIND_POOLER = (
    "a connection pooler is between this box and PostgreSQL, so notifications do not arrive and "
    "statements are not prepared: changes of other boxes are found by polling only, every 200 ms, "
    "and reads cost PostgreSQL more; to avoid both, name PostgreSQL itself in LATCHKEY_DATABASE_URL"
)
"""The warning of a box that starts where ``BoxStore.is_pooled`` is true."""


@dataclass(frozen=True, slots=True)
class NewBox:
    """What a box registers.

    ``id`` is random, and a box that registers anew has a new one. ``revision`` is that of the last
    migration that the box knows. ``derivation_ids`` are its derivation keys, beginning with
    the one that new keys are made with. ``lease_ms`` is the time in milliseconds for which it may
    use its cache without a confirmation. ``confirmed`` is the last row of the log of invalidations
    that it has applied; 0 for an empty log. ``segment`` is the UUID in hex of the segment whose
    uses it counts; empty if it is not known.
    """

    id: str
    name: str
    version: str
    revision: str
    derivation_ids: tuple[str, ...]
    workers: int
    lease_ms: int
    confirmed: int
    started_at: datetime
    segment: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """A registered box.

    Changes wait for the boxes that are ``live``. ``stopped_at`` is set if the box said, when it
    stopped, that none of its workers serves any more. ``unseen_ms`` is the time in milliseconds
    since its last confirmation, by the clock of the database.
    """

    id: str
    name: str
    version: str
    revision: str
    derivation_ids: tuple[str, ...]
    workers: int
    lease_ms: int
    confirmed: int
    live: bool
    started_at: datetime
    stopped_at: datetime | None
    unseen_ms: int
    segment: str = ""


class Confirmation(Enum):
    """The result of a confirmation: it was made, or the reason why it was not.

    ``FORGOTTEN``: no such box is registered. ``CUT_OFF``: the box is not live, so changes no longer
    wait for it. ``REWOUND``: the log does not have the row. ``SHORTER_LEASE``: changes would not
    wait for all of the lease that it was made with.
    """

    MADE = auto()
    FORGOTTEN = auto()
    CUT_OFF = auto()
    REWOUND = auto()
    SHORTER_LEASE = auto()


class Wakeups(Protocol):
    """A connection that is told of each change, for one thread; a notification may be lost."""

    def wait(self, seconds: float) -> bool:
        """Wait for a notification; False after ``seconds``. Takes all that have arrived.

        Raises StoreError if the connection is lost; then it is closed.
        """

    def close(self) -> None:
        """Close the connection."""


class BoxStore(Protocol):
    """The boxes that share a database.

    Each method is one read, or one transaction of its own that is committed durably, and on the
    standbys that the database waits for, when the method returns. None of them waits for the turn
    of a change, and none notifies the other boxes.
    """

    @property
    def revision(self) -> str:
        """The revision of the last migration that this version knows."""

    def log_from(self, number: int) -> list[Invalidation]:
        """At most 10,000 rows of the log with this number or larger ones, the oldest first.

        Read by one SELECT. A read with fewer rows has reached the end of the log.
        """

    def count_after(self, numbers: Collection[int]) -> dict[int, int]:
        """For each number, how many rows of the log have a larger one: 10,000 at most.

        They are counted in the database, by one SELECT.
        """

    def last_row(self) -> Invalidation | None:
        """The last row of the log; None if it is empty."""

    def register(self, box: NewBox, replaces: Collection[str] = ()) -> None:
        """Add a live box, and mark those that it ``replaces`` as not live, in one transaction.

        Raises StoreError, also if the database has another revision than this version.
        """

    def confirm(self, box_id: str, number: int, nonce: int, lease_ms: int) -> Confirmation:
        """Raise the number that a live box has confirmed, and note that it was seen.

        One statement makes it if the box is live, if it has registered at least the lease
        ``lease_ms``, and if the log has a row with this number and nonce or the number is 0.
        Otherwise nothing is changed. Of several reasons, the first one in the order of
        ``Confirmation`` is returned. A number below the confirmed one changes nothing.
        """

    def stop(self, box_id: str) -> None:
        """Mark a box as not live and stopped: none of its workers serves any more."""

    def live(self) -> list[Box]:
        """The live boxes."""

    def unconfirmed(self, box_ids: Collection[str], number: int) -> set[str]:
        """Which of these boxes are not known to have applied the log up to this number.

        A stopped box has nothing to apply. A box that does not exist any more is unconfirmed.
        """

    def mark_dead(self, box_ids: Collection[str], number: int) -> int:
        """Mark those of these boxes as not live that have confirmed less; returns how many."""

    def registered(self) -> list[Box]:
        """All boxes, by name and time of their start."""

    def forget(self, before: datetime) -> int:
        """Delete boxes that are not live and were last seen before; returns how many.

        The watermarks of their segments are deleted too, unless another box has the segment. If
        such a box returns, ``UsageStore.flush`` says so.
        """

    def is_same_as(self, other: BoxStore) -> bool:
        """Whether the other boxes share the same database, perhaps by another name."""

    def is_pooled(self) -> bool:
        """Whether a connection pooler is in between, which passes no notifications on."""

    def open_wakeups(self) -> Wakeups | None:
        """Listen for notifications of changes, on a connection of its own.

        None if notifications do not arrive, as behind a connection pooler. Raises StoreError.
        """
