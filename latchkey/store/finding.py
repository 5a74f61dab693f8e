"""Reading single credentials and accounts within a transaction, in the domain's models."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from sqlalchemy import ColumnElement, Connection, Select, bindparam, select

from latchkey.credentials.accounts import Account
from latchkey.credentials.callers import Author
from latchkey.credentials.models import Credential
from latchkey.credentials.publishing import Refusal
from latchkey.credentials.reach import EVERYWHERE, Reach
from latchkey.errors import AccountNotFound, CredentialNotFound
from latchkey.store.rows import (
    ACCOUNT_COLUMNS,
    SHARED_COLUMNS,
    SHARING,
    account_of,
    joined_credential_of,
)
from latchkey.store.tables import account, credential

CREDENTIALS: Select[tuple[object, ...]] = (
    select(
        credential,
        *(column for column in ACCOUNT_COLUMNS if column.name != "account_id"),
        *SHARED_COLUMNS,
    )
    .join(account, account.c.id == credential.c.account_id)
    .outerjoin(SHARING, SHARING.c.id == credential.c.limits_of)
)
"""All credentials, each with its account and shared limits, for ``joined_credential_of``."""

_FOUND_AT_ONCE = 500

ACCOUNTS: Select[tuple[object, ...]] = select(*ACCOUNT_COLUMNS)
"""All accounts, for ``account_of``."""

_FIND = CREDENTIALS.where(credential.c.api_key == bindparam("api_key"))
_FIND_ACCOUNT = ACCOUNTS.where(account.c.id == bindparam("id"))
_FIND_INSTANCE = ACCOUNTS.where(account.c.instance == 1)


def find_credential(
    connection: Connection, api_key: str, reach: Reach = EVERYWHERE
) -> Credential | None:
    """The credential with this public key within reach, revoked or not."""
    query = _FIND
    if reach.mode is not None:
        query = query.where(credential.c.mode == reach.mode)
    if reach.account_id is not None:
        query = query.where(credential.c.account_id == reach.account_id)
    row = connection.execute(query, {"api_key": api_key}).one_or_none()
    return None if row is None else joined_credential_of(row)


def changeable_credential(connection: Connection, api_key: str, reach: Reach) -> Credential:
    """The unrevoked credential to change; raises CredentialNotFound, or a Refusal with it."""
    found = find_credential(connection, api_key, reach)
    if found is None:
        raise CredentialNotFound
    if found.revoked_at is not None:
        # The process that revoked it may have died before it invalidated.
        raise Refusal(CredentialNotFound(), [found.lookup])
    return found


def caller_now(connection: Connection, author: Author) -> Credential | None:
    """The key that makes a change, as read in the transaction; None for other callers."""
    if author.caller is None:
        return None
    return author.confirm(find_credential(connection, author.caller.api_key))


def find_account(connection: Connection, account_id: str) -> Account | None:
    """The account with this id."""
    row = connection.execute(_FIND_ACCOUNT, {"id": account_id}).one_or_none()
    return None if row is None else account_of(row)


def find_accounts(
    connection: Connection, column: ColumnElement[str], values: Iterable[str]
) -> list[Account]:
    """The accounts that have one of these values in a column."""
    found: list[Account] = []
    left = iter(values)
    while batch := list(islice(left, _FOUND_AT_ONCE)):
        rows = connection.execute(ACCOUNTS.where(column.in_(batch)))
        found += [account_of(row) for row in rows]
    return found


def instance_account(connection: Connection) -> Account:
    """The instance account, which the migration created."""
    return account_of(connection.execute(_FIND_INSTANCE).one())


def account_for(connection: Connection, account_id: str | None) -> Account:
    """The account of a new credential; None is the instance account.

    Raises AccountNotFound if it does not exist or was erased.
    """
    if account_id is None:
        return instance_account(connection)
    found = find_account(connection, account_id)
    if found is None or found.erased_at is not None:
        raise AccountNotFound
    return found
