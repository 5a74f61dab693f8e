"""The reach of a caller: the credentials that exist for it.

A key reaches the credentials of its own account and mode. A key of the instance account that has
``accounts:read`` sees all accounts in its own mode, and changes them with ``accounts:write``. The
operator reaches everything. A credential beyond the reach of a caller is treated as unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

from latchkey.credentials.models import Credential, Mode, Principal
from latchkey.credentials.scopes import CHANGE_ACCOUNTS, READ_ACCOUNTS, permits


@dataclass(frozen=True, slots=True)
class Reach:
    """Credentials of one account and one mode; None is every account, or both modes."""

    account_id: str | None = None
    mode: Mode | None = None

    def covers(self, credential: Credential) -> bool:
        """Whether a credential is within reach."""
        return self.covers_account(credential.account_id) and self.mode in (None, credential.mode)

    def covers_account(self, account_id: str) -> bool:
        """Whether an account is within reach."""
        return self.account_id in (None, account_id)


EVERYWHERE = Reach()
"""The reach of the operator."""


def reach_to_read(caller: Principal | None) -> Reach:
    """What a caller may see; None is the operator."""
    return _reach(caller, READ_ACCOUNTS)


def reach_to_change(caller: Principal | None) -> Reach:
    """What a caller may change; None is the operator."""
    return _reach(caller, CHANGE_ACCOUNTS)


def _reach(caller: Principal | None, needed: str) -> Reach:
    if caller is None:
        return EVERYWHERE
    if caller.in_instance_account and permits(caller.scopes, needed):
        return Reach(mode=caller.mode)
    return Reach(caller.account_id, caller.mode)
