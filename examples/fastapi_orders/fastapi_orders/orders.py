"""Orders in SQLite, found by the objects that a key may see."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY,
    item TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity > 0)
) STRICT;
"""


@dataclass(frozen=True)
class Order:
    """An order; its id begins with the region that it belongs to, as in ``eu-17``."""

    id: str
    item: str
    quantity: int


class Orders:
    """The orders in one file. They may be used by many threads and processes."""

    def __init__(self, path: Path) -> None:
        """Open the file, and create it if it is missing."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connected() as connection:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")

    def place(self, order: Order) -> bool:
        """Store an order, or replace the one with its id; whether it is new."""
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            values = (order.id, order.item, order.quantity)
            added = connection.execute("INSERT OR IGNORE INTO orders VALUES (?, ?, ?)", values)
            if not added.rowcount:
                connection.execute("REPLACE INTO orders VALUES (?, ?, ?)", values)
            connection.execute("COMMIT")
            return bool(added.rowcount)

    def find(self, order_id: str) -> Order | None:
        """An order by its id."""
        with self._connected() as connection:
            row = connection.execute("SELECT * FROM orders WHERE id = ?", (order_id,)).fetchone()
            return None if row is None else Order(*row)

    def selected(self, selectors: Iterable[str]) -> list[Order]:
        """The orders that selectors name: an id, or a prefix that ends in ``*``.

        ``principal.selectors`` returns them; ``*`` alone is every order, and none is no order.
        """
        conditions, values = ["0"], []
        for selector in selectors:
            if selector.endswith("*"):
                conditions.append("substr(id, 1, length(?)) = ?")
                values += [selector[:-1]] * 2
            else:
                conditions.append("id = ?")
                values.append(selector)
        query = f"SELECT * FROM orders WHERE {' OR '.join(conditions)} ORDER BY id"  # noqa: S608
        with self._connected() as connection:
            return [Order(*row) for row in connection.execute(query, values)]

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as connection:
            yield connection
