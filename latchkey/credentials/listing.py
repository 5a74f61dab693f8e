"""Queries on a list of credentials: selection, order and counts.

Status and concerns depend on the time, so each query carries its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from latchkey.credentials.models import Credential, Mode, Status

Concern = Literal["due", "unused", "expiring"]
SortBy = Literal["created", "name", "last_used", "expires", "status"]

CONCERNS: tuple[Concern, ...] = ("due", "unused", "expiring")
STATUSES: tuple[Status, ...] = ("active", "expired", "revoked")
SORTS: tuple[SortBy, ...] = ("created", "name", "last_used", "expires", "status")

UNUSED_AGE = timedelta(days=90)
EXPIRING_WITHIN = timedelta(days=14)
COUNTED = 10_000
"""Credentials with a search or a concern that are counted: counting all reads every row."""
LONGEST_SEARCH = 100
"""Characters that a search may have: as many as a name."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection of credentials; None is no condition.

    ``search`` is part of a name or of a key, ignoring case. A ``concern`` selects only active ones.
    ``account_id`` is the account that they belong to, and ``limits_of`` the number of a credential
    whose limits they share, which is not one of them.
    """

    search: str | None = None
    mode: Mode | None = None
    status: Status | None = None
    concern: Concern | None = None
    account_id: str | None = None
    limits_of: int | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """The sort order; equal credentials are sorted by creation time, in the same direction.

    Credentials without a value come last in both directions. The last use is the persisted one.
    """

    by: SortBy = "created"
    descending: bool = True


@dataclass(frozen=True, slots=True)
class AsOf:
    """The time of a query, and the age at which a key is due for rotation."""

    now: datetime
    rotation_age: timedelta

    def concerns(self, credential: Credential, last_used_at: datetime | None) -> list[Concern]:
        """The concerns about a credential that was last used at ``last_used_at``.

        An active credential is due if it is past its rotation age and has no successor; unused if
        it was not used for UNUSED_AGE; expiring if it expires within EXPIRING_WITHIN.
        """
        if credential.status(self.now) != "active":
            return []
        found: list[Concern] = []
        if credential.rotated_to is None and credential.created_at <= self.now - self.rotation_age:
            found.append("due")
        if (last_used_at or credential.created_at) <= self.now - UNUSED_AGE:
            found.append("unused")
        expires_at = credential.expires_at
        if expires_at is not None and expires_at <= self.now + EXPIRING_WITHIN:
            found.append("expiring")
        return found


@dataclass(frozen=True, slots=True)
class Found:
    """A page of a selection, and how many credentials it has: ``total``, or more if ``is_more``."""

    page: list[Credential]
    total: int
    is_more: bool = False


@dataclass(frozen=True, slots=True)
class LimitedKeys:
    """The credentials that limits refused: how many, and the most often refused ones.

    ``first`` has each credential with its refusals.
    """

    total: int
    first: tuple[tuple[Credential, int], ...]


@dataclass(frozen=True, slots=True)
class LimitSharing:
    """The other active credentials that share limits: how many, and the first of them."""

    total: int = 0
    first: tuple[Credential, ...] = ()


@dataclass(frozen=True, slots=True)
class Census:
    """The number of credentials with each status, and of active ones with each concern."""

    statuses: dict[Status, int] = field(default_factory=dict)
    concerns: dict[Concern, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.statuses.values())
