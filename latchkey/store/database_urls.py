"""The kinds of database that a URL can name; no other module knows them."""

from __future__ import annotations

from latchkey.config import Settings
from latchkey.store.lifecycle import Database
from latchkey.store.sqlite.database import SqliteDatabase


def database_at(url: str) -> Database:
    """The database that ``LATCHKEY_DATABASE_URL`` names; opens nothing.

    Raises ConfigurationError for any other URL.
    """
    return SqliteDatabase(url)


def database_of(settings: Settings) -> Database:
    """The database of an instance; opens nothing. Raises ConfigurationError for a wrong URL."""
    return database_at(settings.database_url)
