"""The rules of limits: the callers that set them, the new keys that share them, and resets."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from latchkey.credentials.limits import Limit
from latchkey.credentials.models import Credential
from latchkey.credentials.scopes import CHANGE_ACCOUNTS, permits
from latchkey.errors import InsufficientScope, InvalidField


def require_sets_limits(caller: Credential | None, limits: object) -> None:
    """Raise InsufficientScope if the caller sets ``limits`` and may not; None is the operator.

    If ``limits`` is None, the caller sets none.
    """
    if limits is not None and not _sets_limits(caller):
        raise InsufficientScope(CHANGE_ACCOUNTS, "Setting limits needs the scope accounts:write")


def limits_shared_with(caller: Credential | None, has_default: bool) -> int | None:
    """The id of the credential whose limits a new key of the caller shares; None for no sharing.

    A caller that may not set limits must not get more by creating keys. ``has_default``: there is a
    default limit.
    """
    if caller is None or _sets_limits(caller):
        return None
    if caller.limits or caller.shared_limits or has_default:
        return caller.limits_of or caller.id
    return None


def limits_to_reset(limits: Iterable[Limit], names: Collection[str] | None) -> list[str]:
    """The names of the limits to reset; None stands for all. Raises InvalidField for others."""
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
