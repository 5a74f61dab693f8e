"""Accounts and their keys, made with the forms of the console."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from urllib.parse import quote

from tests.support.console.form_values import values_of
from tests.support.console.visitor import Page, Visitor
from tests.support.service import Pair, Service

ACCOUNTS = "/console/accounts/"
_KEYS = "/console/keys/"
_TERMS = {"access": "read", "expiry": "never", "mode": "live", "name": "of a customer"}


def account_path(account_id: str, page: str = "") -> str:
    """The path of the page of an account."""
    return f"{ACCOUNTS}{account_id}{page}"


def submit(visitor: Visitor, path: str, **fields: str) -> Page:
    """Open a page, change fields of its form, and submit it."""
    return visitor.post(path, {**values_of(visitor.get(path).text), **fields})


def make_account(visitor: Visitor, name: str = "A customer", **fields: str) -> str:
    """Create an account; returns its id."""
    made = submit(visitor, f"{ACCOUNTS}new", name=name, **fields)
    if made.status != 303:
        raise RuntimeError(made.text)
    return made.location.removeprefix(ACCOUNTS)


def make_key(visitor: Visitor, account: str, **fields: str) -> Pair:
    """Create a key of an account, which is named by its id or its external id."""
    form = f"{_KEYS}new?account={quote(account)}"
    made = submit(visitor, form, **{**_TERMS, "account": account, **fields})
    key = re.search(r'id="api-key">(ak_\w+)<', made.text)
    secret = re.search(r'id="api-secret">(sk_\w+)<', made.text)
    if key is None or secret is None:
        raise RuntimeError(made.text)
    return Pair(key[1], secret[1])


def instance_id(service: Service) -> str:
    """The id of the instance account."""
    query = "SELECT id FROM account WHERE instance"
    with closing(sqlite3.connect(service.database)) as connection:
        ((found,),) = connection.execute(query)
    return str(found)


def erase(service: Service, account_id: str) -> None:
    """What the erasure of an account leaves in its row and those of its keys."""
    statements = (
        "UPDATE account SET name = NULL, external_id = NULL, metadata = NULL, erased_at = ?"
        " WHERE id = ?",
        "UPDATE credential SET revoked_at = ? WHERE account_id = ?",
    )
    with closing(sqlite3.connect(service.database)) as connection, connection:
        for statement in statements:
            connection.execute(statement, (1_700_000_000_000, account_id))
