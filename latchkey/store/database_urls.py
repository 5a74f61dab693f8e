"""The kinds of database that a URL can name; no other module knows them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from latchkey.config import Settings, variable
from latchkey.errors import ConfigurationError
from latchkey.files.private import read_private
from latchkey.store.lifecycle import Database
from latchkey.store.sqlite.database import SqliteDatabase


def database_of(settings: Settings) -> Database:
    """The database of an instance; opens nothing. Raises ConfigurationError for a wrong URL."""
    if not is_postgresql(settings.database_url):
        for field in ("database_password", "database_password_file"):
            if str(getattr(settings, field)):
                raise ConfigurationError(
                    f"{variable(field)} is for PostgreSQL, but {variable('database_url')} names a "
                    "SQLite file: remove one of them"
                )
    return database_at(settings.database_url, settings)


def database_at(url: str, settings: Settings | None = None) -> Database:
    """The database that a URL names; opens nothing.

    For a URL of PostgreSQL, ``settings`` has the password and the files of this box; None stands
    for the default settings. Raises ConfigurationError for a URL that is not allowed.
    """
    if is_postgresql(url):
        _require_driver()
        from latchkey.store.postgresql.database import PostgresqlDatabase

        used = settings or Settings()
        return PostgresqlDatabase(url, _password_of(used), used.audit_head_file)
    return SqliteDatabase(url)


def with_database(settings: Settings, url: str) -> Settings:
    """The settings with another database; the password is for PostgreSQL only."""
    changed: dict[str, object] = {"database_url": url}
    if not is_postgresql(url):
        none = type(settings.database_password)("")
        changed |= {"database_password": none, "database_password_file": ""}
    return settings.model_copy(update=changed)


def is_postgresql(url: str) -> bool:
    """Whether a URL names a database of PostgreSQL, perhaps in a form that is not allowed."""
    return url.startswith(("postgresql:", "postgresql+", "postgres:"))


def _require_driver() -> None:
    """Raise ConfigurationError if the driver of PostgreSQL, an extra, is not installed."""
    try:
        importlib.import_module("psycopg")
    except ImportError as error:
        raise ConfigurationError(
            "LATCHKEY_DATABASE_URL names PostgreSQL, whose driver cannot be loaded "
            f"({' '.join(str(error).split())}): pip install 'latchkey-auth[postgresql]'"
        ) from None


def _password_of(settings: Settings) -> Callable[[], str | None]:
    """Reads the password of the database when it is needed; None if the settings have none."""

    def read() -> str | None:
        given = settings.database_password.get_secret_value()
        if given or not settings.database_password_file:
            return given or None
        path = Path(settings.database_password_file).absolute()
        what = f"the password file {path} ({variable('database_password_file')})"
        try:
            text = read_private(what, path).rstrip("\r\n")
        except FileNotFoundError:
            raise ConfigurationError(f"{what}: there is no such file") from None
        # The driver would use the part before a character 0.
        if not text.isprintable() or not text:
            raise ConfigurationError(
                f"{what} must contain the password in one line, and nothing else"
            )
        return text

    return read
