"""The limits of granting: a key grants no more rights than it has, and no later expiry."""

from __future__ import annotations

from datetime import datetime

from latchkey.credentials.conditions import Conditions
from latchkey.credentials.granting import require_within
from latchkey.credentials.models import Credential
from latchkey.errors import InsufficientScope


def require_within_caller(found: Credential, caller: Credential | None) -> None:
    """Raise InsufficientScope if the key to change has more rights than the caller."""
    if caller is not None:
        require_within(found.scopes, caller.scopes, found.scopes)
        require_conditions_within(found.conditions, caller)


def require_conditions_within(conditions: Conditions, caller: Credential) -> None:
    """Raise InsufficientScope for conditions that are wider than the caller's."""
    field = conditions.outside(caller.conditions)
    if field is not None:
        raise InsufficientScope(
            None, f"A key can only give or change {field} that lie within its own"
        )


def require_no_later(caller: Credential, expires_at: datetime | None) -> None:
    """Raise InsufficientScope if a caller would give a later expiry than its own."""
    if is_later(expires_at, caller.expires_at):
        raise InsufficientScope(None, "A key cannot give a later expiry than its own")


def is_later(one: datetime | None, other: datetime | None) -> bool:
    """Whether one expiry is later than the other; None is no expiry."""
    return other is not None and (one is None or one > other)
