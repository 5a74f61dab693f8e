"""Accounts: the customers that credentials belong to, their changes and selections.

Plain frozen values, like the other models. Times are timezone-aware datetimes in UTC with
millisecond precision.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from latchkey.credentials.limits import NO_ACCOUNT_LIMITS, AccountLimits, Limit

AccountStatus = Literal["active", "disabled"]

ACCOUNT_PREFIX = "acct_"
"""The beginning of an account id, and of its lookup key in the log of invalidations."""
LONGEST_EXTERNAL_ID = 255
"""The most characters of an external id."""
EXTERNAL_ID_PATTERN = rf"^[\x21-\x7e]{{1,{LONGEST_EXTERNAL_ID}}}$"
LONGEST_NAME = 100
"""The most characters of a name."""
MOST_SHOWN_KEYS = 100
"""The most keys that RevokedKeys names."""
LARGEST_METADATA = 768
"""The most bytes of the metadata's JSON: it has to fit into a header of an answer."""
INSTANCE_NAME = "Instance account"
"""The name of the instance account until the operator changes it."""

_EXTERNAL_ID = re.compile(EXTERNAL_ID_PATTERN.removeprefix("^").removesuffix("$"))
_ID = re.compile(r"acct_[0-9A-Za-z]{22}")


@dataclass(frozen=True, slots=True)
class Account:
    """A stored account. Rows are never deleted, and ids never used again.

    ``number`` is the order of creation. ``external_id`` is the operator's own id of the customer,
    ``metadata`` a JSON object as text. The name, the external id and the metadata of an erased
    account are None. The instance account is the one that the operator's own keys belong to.
    """

    number: int
    id: str
    name: str | None
    external_id: str | None
    metadata: str | None
    created_at: datetime
    disabled_at: datetime | None = None
    erased_at: datetime | None = None
    is_instance: bool = False
    limits: AccountLimits = NO_ACCOUNT_LIMITS

    @property
    def status(self) -> AccountStatus:
        """Whether keys of the account are accepted."""
        return "active" if self.disabled_at is None else "disabled"


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account about to be stored."""

    id: str
    name: str
    external_id: str | None
    metadata: str | None
    created_at: datetime
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class AccountChange:
    """New terms of an account; None leaves a field as it is.

    An empty ``external_id`` or ``metadata`` removes it, and empty ``limits`` remove all limits.
    ``keeps_totals`` and ``renewed`` are those of ``Change``; quotas are renewed in both modes.
    """

    name: str | None = None
    external_id: str | None = None
    metadata: str | None = None
    status: AccountStatus | None = None
    limits: tuple[Limit, ...] | None = None
    keeps_totals: bool = False
    renewed: frozenset[str] = frozenset()

    def after(self, present: Account, now: datetime) -> Account:
        """The account that had the ``present`` terms; ``now`` is when it is disabled.

        It has the present limits: the store knows the state of new ones.
        """
        disabled_at = present.disabled_at
        if self.status not in (None, present.status):
            disabled_at = now if self.status == "disabled" else None
        return replace(
            present,
            name=present.name if self.name is None else self.name,
            external_id=present.external_id
            if self.external_id is None
            else self.external_id or None,
            metadata=present.metadata if self.metadata is None else self.metadata or None,
            disabled_at=disabled_at,
        )


@dataclass(frozen=True, slots=True)
class AccountSelection:
    """A selection of accounts; None is no condition.

    ``search`` is a part of the name, the external id or the id, ignoring the case of letters.
    """

    search: str | None = None
    external_id: str | None = None
    status: AccountStatus | None = None


@dataclass(frozen=True, slots=True)
class RevokedKeys:
    """The result of revoking the keys of an account: how many, and the first of them."""

    matched: int
    revoked: int
    api_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ErasedAccount:
    """The result of erasing an account.

    ``credential_ids`` are the numbers of its keys, ``revoked`` how many were not revoked before.
    ``addresses`` and ``details`` count the values that were erased from the audit log.
    """

    account: Account
    credential_ids: tuple[int, ...]
    revoked: int
    addresses: int
    details: int


def is_account_id(text: str) -> bool:
    """Whether a text has the form of an account id."""
    return _ID.fullmatch(text) is not None


def is_external_id(text: str) -> bool:
    """Whether a text may be an external id: 1 to 255 visible ASCII characters."""
    return _EXTERNAL_ID.fullmatch(text) is not None
