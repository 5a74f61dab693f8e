"""The tables of a database: in which schema they are, and of which revision.

A name in a statement means the first table of that name along the ``search_path`` of the session,
which roles and databases set. Two boxes must not find different tables by it: each would miss the
changes of the other one.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import TupleRow

from latchkey.errors import ConfigurationError
from latchkey.store.revisions import newest_revision

_HOMES = b"""
    WITH home AS (
        SELECT relnamespace AS schema FROM pg_class
        WHERE relkind = 'r' AND relpersistence <> 't'
        AND relname IN ('alembic_version', 'credential', 'invalidation')
        GROUP BY relnamespace HAVING count(*) = 3
    )
    SELECT ARRAY(
            SELECT nspname::text FROM pg_namespace WHERE oid IN (SELECT schema FROM home) ORDER BY 1
        ), EXISTS (
            SELECT FROM pg_class WHERE relkind = 'r' AND relnamespace IN (SELECT schema FROM home)
            AND NOT pg_table_is_visible(oid)
        ), current_setting('search_path'), current_user::text, current_database()::text
"""

_SOURCE_OF_PATH = b"SELECT source FROM pg_settings WHERE name = 'search_path'"
_IN_OPTIONS = "correct it in the options of LATCHKEY_DATABASE_URL or in PGOPTIONS"


def home_of(connection: psycopg.Connection[TupleRow]) -> str | None:
    """The schema with the tables of Latchkey; None if there are none.

    Raises ConfigurationError if several schemas have some, or if the ``search_path`` of the session
    does not lead to all of them.
    """
    homes, are_hidden, path, role, database = row_of(connection, _HOMES)
    if len(homes) > 1:
        raise ConfigurationError(
            f"the database has tables of Latchkey in several schemas ({', '.join(homes)}), and an "
            "instance needs a database of its own: drop each schema whose tables are not in use"
        )
    if are_hidden:
        (home,) = homes
        (source,) = row_of(connection, _SOURCE_OF_PATH)
        what = (
            f"ALTER ROLE {_quoted(role)} IN DATABASE {_quoted(database)} "
            f"SET search_path = {_quoted(home)}"
        )
        raise ConfigurationError(
            f"the tables of Latchkey are in the schema {home}, and the search_path of the role "
            f"{role} ({path}) does not lead to them, or leads to others first; "
            + (_IN_OPTIONS if source == "client" else f"run: {what}")
        )
    return str(homes[0]) if homes else None


def require_current(connection: psycopg.Connection[TupleRow]) -> None:
    """Raise ConfigurationError unless the tables exist and have the revision of this version.

    So a process cannot use a database that another version has migrated, or that was restored.
    """
    found = [] if home_of(connection) is None else recorded_revisions(connection)
    if found != [newest_revision()]:
        raise ConfigurationError(other_revision(found))


def other_revision(found: list[str]) -> str:
    """The message for a database whose recorded revisions are not the one of this version."""
    shown, own = ", ".join(found), newest_revision()
    if not found:
        return (
            "the database has no tables of Latchkey, or no row in its table alembic_version: "
            "restore it, or correct LATCHKEY_DATABASE_URL"
        )
    if len(found) > 1:
        return (
            f"the table alembic_version of the database has several revisions ({shown}), and must "
            "have one: restore the database"
        )
    what = "start the service, which migrates it" if shown < own else "install the newer version"
    return f"the database has the revision {shown}, and this version needs {own}: {what}"


def revisions_of(connection: psycopg.Connection[TupleRow]) -> list[str]:
    """The revisions recorded in a database: one, if Latchkey made it; none if it has no tables."""
    (table,) = row_of(connection, b"SELECT to_regclass('alembic_version')::text")
    return [] if table is None else recorded_revisions(connection)


def recorded_revisions(connection: psycopg.Connection[TupleRow]) -> list[str]:
    """The same of a database that has the table."""
    found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    return [str(version) for (version,) in found]


def _quoted(name: str) -> str:
    """A name as statements have it."""
    return '"' + name.replace('"', '""') + '"'


def row_of(connection: psycopg.Connection[TupleRow], statement: bytes) -> tuple[Any, ...]:
    """The first row of a statement's result."""
    row = connection.execute(statement).fetchone()
    if row is None:
        raise ConfigurationError("the database gave no answer")
    return row
