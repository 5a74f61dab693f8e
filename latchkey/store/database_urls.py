"""The databases that a URL can name: the one place that knows which kinds there are."""

from __future__ import annotations

from latchkey.store.lifecycle import Database
from latchkey.store.sqlite.database import SqliteDatabase


def database_at(url: str) -> Database:
    """The database that ``LATCHKEY_DATABASE_URL`` names; opens nothing.

    Raises ConfigurationError for a URL that names none.
    """
    return SqliteDatabase(url)
