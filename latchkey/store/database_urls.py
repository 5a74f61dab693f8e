"""The kinds of database that a URL can name; no other module knows them."""

from __future__ import annotations

from latchkey.store.lifecycle import Database
from latchkey.store.sqlite.database import SqliteDatabase


def database_at(url: str) -> Database:
    """The database that ``LATCHKEY_DATABASE_URL`` names; opens nothing.

    Raises ConfigurationError for any other URL.
    """
    return SqliteDatabase(url)
