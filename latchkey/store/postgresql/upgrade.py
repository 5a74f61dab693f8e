"""Running the migrations by Alembic, in one transaction."""

from __future__ import annotations

from datetime import datetime

import psycopg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from latchkey.errors import ConfigurationError
from latchkey.store.postgresql.errors import reason_of
from latchkey.store.revisions import MIGRATIONS, newest_revision

# Texts are compared by their characters' codes, as in SQLite, and lengths are the domain's concern.
_TEXTS = text("""
    SELECT quote_ident(relname) AS in_table, quote_ident(attname) AS in_column
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = to_regnamespace(quote_ident(current_schema()))
    AND relkind = 'r' AND attnum > 0
    AND NOT attisdropped AND atttypid = 'varchar'::regtype AND relname <> 'alembic_version'
    ORDER BY relname, attnum
""")
# A box that has confirmed nothing for two of its leases was killed or cut off.
_RUNNING = text("""
    SELECT name, version FROM box
    WHERE live AND extract(epoch FROM clock_timestamp()) * 1000 - seen_at <= 2 * lease_ms
    ORDER BY name, id
""")


def upgrade(conninfo: str, lock: str, home: str | None) -> datetime | None:
    """Run the migrations in a transaction that begins with the statement ``lock``.

    ``conninfo`` has the parameters of a connection; ``home`` is the schema with the tables, or None
    if they have to be created. Returns the time at which it began to change existing tables, by
    the clock of the server, or None if it changed none. Raises ConfigurationError for a database of
    another version, while boxes use the existing tables, and for a failed migration.
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
            began = None
            if home is not None:
                began = _begin_changing(connection, home)
                if began is None:
                    return None
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            _compare_texts_by_codes(connection)
            return began
    except CommandError as error:
        raise ConfigurationError(
            f"not a database of this version: {error}; install the version that has migrated it"
        ) from None
    except DBAPIError as error:
        raise ConfigurationError(reason_of(error.orig or error)) from None


def _begin_changing(connection: Connection, home: str) -> datetime | None:
    """Prepare the migration of the tables in a schema; None if another box has made it meanwhile.

    Returns the time at which it has locked them, by the clock of the server. Boxes that are not
    running are marked as not live. If one returns, it has to register anew, and cannot: see
    ``PostgresqlBoxStore.register``. Raises ConfigurationError while boxes use the tables.
    """
    pinned = text("SELECT set_config('search_path', quote_ident(:home), true)")
    connection.execute(pinned, {"home": home})
    recorded = connection.execute(text("SELECT version_num FROM alembic_version"))
    if list(recorded.scalars()) == [newest_revision()]:
        return None
    if connection.execute(text("SELECT to_regclass('box')")).scalar_one() is not None:
        # No box registers or confirms until the end of the transaction.
        connection.exec_driver_sql("LOCK TABLE box IN EXCLUSIVE MODE")
        running = [f"{row.name} (version {row.version})" for row in connection.execute(_RUNNING)]
        if running:
            raise ConfigurationError(
                "this version migrates the database to another revision, and other boxes use it: "
                f"stop the service on {', '.join(running)}, and try again; if a box was killed, "
                "wait for twice its LATCHKEY_LEASE first"
            )
        connection.exec_driver_sql("UPDATE box SET live = false WHERE live")
    # Each new connection reads this table: it waits, and then finds the new revision. So the former
    # version has no connection that was opened later.
    connection.exec_driver_sql("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
    began: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return began


def _compare_texts_by_codes(connection: Connection) -> None:
    """Give all texts the type ``text`` with the collation "C", which rewrites no table."""
    changes: dict[str, list[str]] = {}
    for row in connection.execute(_TEXTS):
        change = f'ALTER COLUMN {row.in_column} TYPE text COLLATE "C"'
        changes.setdefault(row.in_table, []).append(change)
    for table, of_table in changes.items():
        connection.exec_driver_sql(f"ALTER TABLE {table} {', '.join(of_table)}")
