"""Running the migrations by Alembic, in one transaction."""

from __future__ import annotations

import psycopg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from latchkey.errors import ConfigurationError
from latchkey.store.postgresql.errors import reason_of
from latchkey.store.revisions import MIGRATIONS

# Texts are compared by their characters' codes, as in SQLite, and lengths are the domain's concern.
_TEXTS = text("""
    SELECT quote_ident(relname) AS in_table, quote_ident(attname) AS in_column
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND attnum > 0
    AND NOT attisdropped AND atttypid = 'varchar'::regtype AND relname <> 'alembic_version'
    ORDER BY relname, attnum
""")


def upgrade(conninfo: str, lock: str) -> None:
    """Run the migrations in a transaction that begins with the statement ``lock``.

    ``conninfo`` has the parameters of a connection. Raises ConfigurationError for a database of
    another version or a failed migration.
    """
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.set_main_option("path_separator", "os")
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(conninfo, prepare_threshold=None),
        poolclass=NullPool,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
        use_native_hstore=False,
    )
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(lock)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            _compare_texts_by_codes(connection)
    except CommandError as error:
        raise ConfigurationError(f"not a database of this version: {error}") from None
    except DBAPIError as error:
        raise ConfigurationError(reason_of(error.orig or error)) from None


def _compare_texts_by_codes(connection: Connection) -> None:
    """Give all texts the type ``text`` with the collation "C", which rewrites no table."""
    changes: dict[str, list[str]] = {}
    for row in connection.execute(_TEXTS):
        change = f'ALTER COLUMN {row.in_column} TYPE text COLLATE "C"'
        changes.setdefault(row.in_table, []).append(change)
    for table, of_table in changes.items():
        connection.exec_driver_sql(f"ALTER TABLE {table} {', '.join(of_table)}")
