"""Erasing an account: its keys are revoked, and the texts that identify the customer removed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update

from latchkey.credentials.accounts import ErasedAccount
from latchkey.credentials.audit import Action, AuditEvent
from latchkey.credentials.audit_erasure import ranges_text
from latchkey.credentials.callers import Author
from latchkey.credentials.publishing import Made, Publication
from latchkey.credentials.times import to_milliseconds
from latchkey.errors import AccountNotFound, InvalidField
from latchkey.store.audit import SqlAuditLog
from latchkey.store.finding import caller_now, find_account
from latchkey.store.invalidations import log_invalidation
from latchkey.store.tables import account, credential, idempotency, sighting


def erase(
    connection: Connection, log: SqlAuditLog, account_id: str, now: datetime, author: Author
) -> Made[ErasedAccount]:
    """Erase an account in a transaction; see ``AccountStore.erase``."""
    caller_now(connection, author)
    found = find_account(connection, account_id)
    if found is None:
        raise AccountNotFound
    if found.is_instance:
        raise InvalidField("account", "the instance account cannot be erased")
    of_account = credential.c.account_id == account_id
    ids = list(connection.execute(select(credential.c.id).where(of_account)).scalars())
    unrevoked = (
        select(func.count())
        .select_from(credential)
        .where(of_account, credential.c.revoked_at.is_(None))
    )
    revoked = connection.execute(unrevoked).scalar_one()
    keys = select(credential.c.api_key).where(of_account)
    addresses, details = log.erase(connection, account_id, keys)
    changed = bool(addresses or details or revoked or found.erased_at is None)
    moment = to_milliseconds(now)
    connection.execute(
        update(credential)
        .where(of_account)
        .values(
            revoked_at=func.coalesce(credential.c.revoked_at, moment),
            name=None,
            metadata=None,
            conditions=None,
        )
    )
    connection.execute(
        update(account)
        .where(account.c.number == found.number)
        .values(
            name=None,
            external_id=None,
            metadata=None,
            disabled_at=func.coalesce(account.c.disabled_at, moment),
            erased_at=func.coalesce(account.c.erased_at, moment),
        )
    )
    numbers = select(credential.c.id).where(of_account)
    for table in (sighting, idempotency):
        connection.execute(delete(table).where(table.c.credential_id.in_(numbers)))
    erased = find_account(connection, account_id) or found
    result = ErasedAccount(erased, tuple(ids), revoked, len(addresses), len(details))
    if not changed:
        # The process that erased the account may have died before it published the erasure.
        return Made(result, Publication([account_id]))
    row = log_invalidation(connection, account_id, now)
    detail: dict[str, object] = {
        "keys": len(ids),
        "revoked": revoked,
        "addresses": ranges_text(addresses),
        "details": ranges_text(details),
    }
    head = log.append(
        connection, AuditEvent(now, Action.ACCOUNT_ERASE, author.actor, account_id, detail)
    )
    return Made(result, Publication([account_id], [row], head))
