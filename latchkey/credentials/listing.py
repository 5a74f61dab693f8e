"""What a person asks a long list of credentials for: which of them, in which order, how many.

A status, and what calls for attention, depend on the moment: a question carries its own.
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
LONGEST_SEARCH = 100
"""Characters that a search may have: as many as a name."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which credentials; None leaves a criterion out.

    ``search`` is part of a name or of a key, in any case. A ``concern`` is about active ones only.
    """

    search: str | None = None
    mode: Mode | None = None
    status: Status | None = None
    concern: Concern | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """By what credentials are sorted, equal ones by when they were made, in the same direction.

    Those without a value come last either way. The last use is the one that is written down.
    """

    by: SortBy = "created"
    descending: bool = True


@dataclass(frozen=True, slots=True)
class AsOf:
    """The moment that a question is asked for, and how old a key may be then."""

    now: datetime
    rotation_age: timedelta

    def concerns(self, credential: Credential, last_used_at: datetime | None) -> list[Concern]:
        """What calls for attention about a credential that was last used at ``last_used_at``.

        An active one is due when it is past its rotation age and has no successor yet; unused when
        nobody has used it for UNUSED_AGE; expiring when it ends within EXPIRING_WITHIN.
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
class Census:
    """How many credentials there are by status, and active ones by what calls for attention."""

    statuses: dict[Status, int] = field(default_factory=dict)
    concerns: dict[Concern, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.statuses.values())
