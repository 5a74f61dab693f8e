"""The data of the console's administrators and their sessions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Administrator:
    """A person who may sign in to the console. Times are in UTC.

    ``password_hash`` is Argon2's, with its salt and its parameters; it is in no repr.
    """

    id: int
    name: str
    password_hash: str = field(repr=False)
    created_at: datetime
    disabled_at: datetime | None
    signed_in_at: datetime | None

    @property
    def is_enabled(self) -> bool:
        """Whether this administrator may sign in."""
        return self.disabled_at is None


@dataclass(frozen=True, slots=True)
class ConsoleSession:
    """A session of the console. Times are in UTC; ``token_hash`` is the SHA-256 of its token.

    ``messages`` are shown by the next page, each with its category.
    """

    token_hash: bytes = field(repr=False)
    administrator: Administrator
    created_at: datetime
    seen_at: datetime
    messages: tuple[tuple[str, str], ...] = ()
