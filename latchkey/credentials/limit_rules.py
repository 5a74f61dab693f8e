"""The rules of limits: who sets them, which new keys share them, and which ones are reset."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from latchkey.credentials.limits import Limit
from latchkey.credentials.models import Credential
from latchkey.credentials.scopes import CHANGE_ACCOUNTS, permits
from latchkey.errors import InsufficientScope, InvalidField


def require_sets_limits(caller: Credential | None, limits: object) -> None:
    """Raise InsufficientScope for limits that the caller may not set; None is the operator.

    ``limits`` None are not set.
    """
    if limits is not None and not _sets_limits(caller):
        raise InsufficientScope(CHANGE_ACCOUNTS, "Setting limits needs the scope accounts:write")


def limits_shared_with(caller: Credential | None, has_default: bool) -> int | None:
    """The id of the credential whose limits a key that the caller makes shares; None for none.

    A caller that may not set limits must not get more by making a key. ``has_default``: there is a
    limit for keys without limits of their own.
    """
    if caller is None or _sets_limits(caller):
        return None
    if caller.limits or caller.shared_limits or has_default:
        return caller.limits_of or caller.id
    return None


def limits_to_reset(limits: Iterable[Limit], names: Collection[str] | None) -> list[str]:
    """The names of limits to reset, all of them for None; raises InvalidField for another name."""
    present = [limit.name for limit in limits]
    asked = present if names is None else list(names)
    if not present or not asked:
        raise InvalidField("name", "there are no limits to reset")
    for name in asked:
        if name not in present:
            known = " or ".join(present)
            raise InvalidField("name", f"there is no limit with this name; choose {known}")
    return asked


def _sets_limits(caller: Credential | None) -> bool:
    return caller is None or permits(caller.scopes, CHANGE_ACCOUNTS)
