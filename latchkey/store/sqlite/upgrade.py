"""Running the migrations by Alembic on an existing database file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from latchkey.errors import ConfigurationError
from latchkey.store.revisions import MIGRATIONS
from latchkey.store.sqlite.engines import open_writer
from latchkey.store.sqlite.opening import open_database, rows_of
from latchkey.store.sqlite.pinned import PinnedFile


def upgrade(path: Path, *, busy_timeout: float) -> None:
    """Switch the file to WAL permanently, and run the migrations in one transaction.

    ``busy_timeout``, in seconds, limits the wait for locks. Raises ConfigurationError for
    a database of another version or a failed migration, and sqlite3.Error.
    """
    with closing(open_database(path, sqlite3.Connection, timeout=busy_timeout)) as connection:
        (mode,) = rows_of(connection, "PRAGMA journal_mode = WAL")
    if mode["journal_mode"] != "wal":
        raise ConfigurationError(f"{path}: the file system does not support SQLite's WAL")
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.set_main_option("path_separator", "os")
    file = PinnedFile(path)
    engine = open_writer(file, busy_timeout=busy_timeout, pool_size=1)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigurationError(
            f"{path}: not a database of this version: {error}; install the version that has "
            "migrated it"
        ) from None
    except DBAPIError as error:
        raise ConfigurationError(f"{path}: {error.orig}") from None
    finally:
        engine.dispose()
        file.close()
