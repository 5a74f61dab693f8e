"""Carrying revocations and other restrictions of the former database over to a restored one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from latchkey.store.carrying.accounts import carry_accounts, carry_owners
from latchkey.store.carrying.administrators import carry_administrators
from latchkey.store.carrying.audit_log import carry_audit_log
from latchkey.store.carrying.carried import Carried
from latchkey.store.carrying.keys import (
    ConditionsLooser,
    ScopesWithin,
    carry_keys,
    forget_pairs,
    pair_keys,
)
from latchkey.store.carrying.limits import carry_limits
from latchkey.store.connections import SqlDialect

FORMER = (
    *("account", "credential", "administrator", "audit"),
    *("limit_state", "quota_reservation"),
)
"""The tables of the former database that are read, as ``former_account`` and so on."""


def carry_over(
    connection: Connection,
    dialect: SqlDialect,
    former_numbers: Mapping[str, int],
    lies_within: ScopesWithin,
    are_looser: ConditionsLooser,
    now: datetime,
    *,
    adopts_instance: bool = False,
) -> Carried:
    """Carry the restrictions of the former database over, in the transaction of the connection.

    A key whose scopes in the backup do not lie within its present ones, according to
    ``lies_within``, keeps the present ones, and so does a key whose conditions in the backup
    ``are_looser`` than its present ones. Limits never get weaker, and what was used of quotas stays
    used. Administrators that the former database lacks are disabled
    as of ``now``, in UTC. ``former_numbers`` are those that the former database has assigned last;
    none of them is reused. ``adopts_instance``: the backup was made before there were accounts.
    Raises SQLAlchemy's errors.
    """
    pair_keys(connection)
    # First, because an id that is assigned below must not be in use.
    dialect.raise_numbers(connection, former_numbers)
    accounts = carry_accounts(connection, adopts_instance)
    keys = carry_keys(connection, lies_within, are_looser)
    ended = list(dict.fromkeys([*keys.ended, *carry_owners(connection)]))
    weaker = carry_limits(connection, now)
    forget_pairs(connection)
    kept_out = carry_administrators(connection, now)
    audited = carry_audit_log(connection)
    rotated = sorted(set(keys.rotated).difference(ended))
    narrowed = list(dict.fromkeys([*keys.narrowed, *weaker]))
    return Carried(ended, rotated, narrowed, keys.kept, keys.lost, audited, kept_out, accounts)
