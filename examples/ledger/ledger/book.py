"""A double-entry book in SQLite: accounts, and transfers between them.

Each transfer has two entries, one that takes the amount from an account and one that gives it to
another. So the balances of all accounts always sum to zero. Amounts are integers in the smallest
unit of the currency, such as cents.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

LARGEST_AMOUNT = 10**15

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS account (
    name TEXT PRIMARY KEY,
    may_overdraw INTEGER NOT NULL CHECK (may_overdraw IN (0, 1))
) STRICT;
CREATE TABLE IF NOT EXISTS transfer (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    caller TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    source TEXT NOT NULL REFERENCES account,
    destination TEXT NOT NULL REFERENCES account,
    amount INTEGER NOT NULL CHECK (amount > 0),
    UNIQUE (caller, idempotency_key),
    CHECK (source <> destination)
) STRICT;
CREATE TABLE IF NOT EXISTS entry (
    transfer INTEGER NOT NULL REFERENCES transfer,
    account TEXT NOT NULL REFERENCES account,
    amount INTEGER NOT NULL CHECK (amount <> 0)
) STRICT;
CREATE INDEX IF NOT EXISTS entry_by_account ON entry (account, amount);
"""


class BookError(Exception):
    """A request that the book cannot fulfil: an HTTP status, a code, and a message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Account:
    """An account with its balance; only one that may be overdrawn can have less than zero."""

    name: str
    balance: int
    may_overdraw: bool


@dataclass(frozen=True)
class Order:
    """What a caller wants to transfer. Raises BookError if it makes no sense."""

    source: str
    destination: str
    amount: int

    def __post_init__(self) -> None:
        if self.source == self.destination:
            raise BookError(400, "INVALID_FIELD", "to: must be another account than from")
        if not 1 <= self.amount <= LARGEST_AMOUNT:
            raise BookError(
                400, "INVALID_FIELD", f"amount: must be an integer from 1 to {LARGEST_AMOUNT}"
            )


@dataclass(frozen=True)
class Transfer:
    """A transfer that was made; ``is_new`` is False if an earlier request has made it."""

    number: int
    order: Order
    is_new: bool


class Book:
    """A book in one file. It may be used by many threads and processes."""

    def __init__(self, path: Path) -> None:
        """Open the book, and create the file if it is missing."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connected() as connection:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")

    def open_account(self, name: str, *, may_overdraw: bool) -> bool:
        """Open an account; False if there is the same already. Raises BookError."""
        if not _NAME.fullmatch(name):
            raise BookError(400, "INVALID_FIELD", "name: must have 1 to 64 of a-z, 0-9, - and _")
        with self._changing() as connection:
            found = self._find(connection, name)
            if found is None:
                connection.execute("INSERT INTO account VALUES (?, ?)", (name, may_overdraw))
                return True
            if found.may_overdraw != may_overdraw:
                raise BookError(409, "ACCOUNT_EXISTS", f"the account {name} has other terms")
            return False

    def account(self, name: str) -> Account:
        """An account by its name. Raises BookError."""
        with self._connected() as connection:
            return self._get(connection, name)

    def accounts(self) -> list[Account]:
        """All accounts, by name, as of one moment."""
        query = """
            SELECT name, COALESCE(SUM(amount), 0), may_overdraw
            FROM account LEFT JOIN entry ON account = name GROUP BY name ORDER BY name
        """
        with self._connected() as connection:
            return [
                Account(name, balance, bool(may_overdraw))
                for name, balance, may_overdraw in connection.execute(query)
            ]

    def transfer(self, caller: str, idempotency_key: str, order: Order) -> Transfer:
        """Move an amount from one account to another, once for each key of a caller.

        The same order under the same key returns the transfer that was made. Raises BookError.
        """
        with self._changing() as connection:
            made = connection.execute(
                "SELECT number, source, destination, amount FROM transfer"
                " WHERE caller = ? AND idempotency_key = ?",
                (caller, idempotency_key),
            ).fetchone()
            if made is not None:
                number, *terms = made
                if Order(*terms) != order:
                    raise BookError(
                        422, "IDEMPOTENCY_KEY_REUSED", "this key was used for another transfer"
                    )
                return Transfer(number, order, is_new=False)
            source = self._get(connection, order.source)
            self._get(connection, order.destination)
            if not source.may_overdraw and source.balance < order.amount:
                raise BookError(
                    409,
                    "INSUFFICIENT_FUNDS",
                    f"the account {source.name} has {source.balance}, and {order.amount} is needed",
                )
            (number,) = connection.execute(
                "INSERT INTO transfer (caller, idempotency_key, source, destination, amount)"
                " VALUES (?, ?, ?, ?, ?) RETURNING number",
                (caller, idempotency_key, order.source, order.destination, order.amount),
            ).fetchone()
            entries = [(order.source, -order.amount), (order.destination, order.amount)]
            connection.executemany(
                "INSERT INTO entry VALUES (?, ?, ?)", [(number, *entry) for entry in entries]
            )
            return Transfer(number, order, is_new=True)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        # Without this level, sqlite3 would begin transactions by itself, and later than needed.
        with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: no other process changes anything between its reads and its writes."""
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            # After an exception, closing the connection rolls everything back.
            yield connection
            connection.execute("COMMIT")

    def _get(self, connection: sqlite3.Connection, name: str) -> Account:
        found = self._find(connection, name)
        if found is None:
            raise BookError(404, "ACCOUNT_NOT_FOUND", f"there is no account {name}")
        return found

    def _find(self, connection: sqlite3.Connection, name: str) -> Account | None:
        query = """
            SELECT may_overdraw, (SELECT COALESCE(SUM(amount), 0) FROM entry WHERE account = name)
            FROM account WHERE name = ?
        """
        found = connection.execute(query, (name,)).fetchone()
        return None if found is None else Account(name, found[1], bool(found[0]))
