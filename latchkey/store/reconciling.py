"""Applying the rules of a restore to a database that was restored by other means.

The *former* database knows more: it is newer than the restored state. Its rows are copied into
temporary tables of the restored one, where the rules of ``latchkey.store.carrying`` read them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, MetaData, Table, delete, text

from latchkey.credentials.audit import AuditEvent
from latchkey.credentials.callers import Author
from latchkey.credentials.publishing import Made, Outcome, Publication
from latchkey.errors import LatchkeyError
from latchkey.store.account_erasure import erase
from latchkey.store.audit import stored_rows
from latchkey.store.carrying.administrators import end_sessions
from latchkey.store.carrying.audit_log import former_is_older
from latchkey.store.carrying.carried import Carried
from latchkey.store.carrying.database import FORMER, carry_over
from latchkey.store.carrying.keys import ConditionsLooser, ScopesWithin
from latchkey.store.copying import Judge, copy_rows, sql_store
from latchkey.store.credentials import SqlStore
from latchkey.store.protocols import Store
from latchkey.store.tables import box, metadata
from latchkey.store.transactions import commit

# Its columns have the collations of the original ones, so that texts of both can be compared.
_CREATE = "CREATE TEMP TABLE former_{name} (LIKE {name})"
_DROP = "DROP TABLE former_{name}"
# The joins of the rules.
_INDEXES = (
    text("CREATE UNIQUE INDEX ix_former_id ON former_credential (id)"),
    text("CREATE UNIQUE INDEX ix_former_api_key ON former_credential (api_key)"),
    text("CREATE INDEX ix_former_secret_hash ON former_credential (secret_hash)"),
    text("CREATE INDEX ix_former_rotated_to ON former_credential (rotated_to)"),
    text("CREATE INDEX ix_former_limits_of ON former_credential (limits_of)"),
    text("CREATE UNIQUE INDEX ix_former_number ON former_audit (number)"),
)


class NothingNewer(LatchkeyError):
    """The restored database has everything that the other one knows, and more."""


@dataclass(frozen=True, slots=True)
class ReconcileRules:
    """The comparisons and the author of a reconciliation; see ``carry_over``."""

    lies_within: ScopesWithin
    are_looser: ConditionsLooser
    author: Author
    now: datetime


class _Planned(Exception):
    """Rolls the transaction of a plan back."""

    def __init__(self, carried: Carried) -> None:
        self.carried = carried


def plan(restored: Store, former: Store, rules: ReconcileRules, judge: Judge) -> Carried:
    """What ``reconcile`` would do, found by doing it in a transaction that is rolled back.

    ``judge`` is called with the audit log as it would be. Raises NothingNewer and StoreError.
    """
    store = sql_store(restored)
    try:
        with store.connections.writing() as connection:
            carried = _apply(connection, store, sql_store(former), rules)
            judge(stored_rows(connection, store.connections.dialect))
            raise _Planned(carried)
    except _Planned as planned:
        return planned.carried


def reconcile(
    restored: Store,
    former: Store,
    rules: ReconcileRules,
    record: Callable[[Carried, int], AuditEvent],
) -> Outcome[Carried]:
    """Apply the restrictions that the former database knows, in one transaction.

    No box uses either database. ``record`` makes the audit row of the result and of the last number
    of the log. Raises NothingNewer, CopyFailed and StoreError; then nothing was changed.
    """
    store = sql_store(restored)

    def transaction(connection: Connection) -> Made[Carried]:
        carried = _apply(connection, store, sql_store(former), rules)
        last = store.audit.last_of(connection)
        head = store.audit.append(connection, record(carried, last.number))
        return Made(carried, Publication(head=head, replaces_head=True))

    return commit(store.connections, transaction)


def _apply(
    connection: Connection, store: SqlStore, former: SqlStore, rules: ReconcileRules
) -> Carried:
    dialect = store.connections.dialect
    with former.connections.writing(upkeep=True) as there:
        for name in FORMER:
            connection.execute(text(_CREATE.format(name=name)))
            copied = Table(f"former_{name}", MetaData())
            copy_rows(there, connection, dialect, metadata.tables[name], copied)
        numbers = former.connections.dialect.numbers(there)
    for index in _INDEXES:
        connection.execute(index)
    for name in FORMER:
        connection.execute(text(f"ANALYZE former_{name}"))
    if former_is_older(connection):
        raise NothingNewer(
            "nothing was changed: the database in use has all changes that the other one knows, "
            "and later ones"
        )
    carried = carry_over(
        connection, dialect, numbers, rules.lies_within, rules.are_looser, rules.now
    )
    for account_id in carried.accounts.erased:
        erase(connection, store.audit, account_id, rules.now, rules.author)
    end_sessions(connection)
    # Boxes of the time of the backup, for which changes would wait.
    connection.execute(delete(box))
    for name in FORMER:
        connection.execute(text(_DROP.format(name=name)))
    return carried
