"""The migrations on PostgreSQL: they make the tables, also in a database of an earlier version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from latchkey.store.database_urls import database_at
from latchkey.store.postgresql.location import location_of
from latchkey.store.postgresql.migrate import migrate
from latchkey.store.postgresql.upgrade import upgrade
from latchkey.store.protocols import NewBox
from latchkey.store.revisions import MIGRATIONS, newest_revision
from latchkey.store.tables import metadata
from tests.support.postgresql import USER, Postgresql
from tests.support.store.new_credentials import NOW
from tests.support.store.tallies import SEGMENT, tally

# Texts have no length on PostgreSQL, and columns that were added later stand last.
COLUMNS = """
    SELECT table_name, column_name, replace(data_type, 'character varying', 'text'), is_nullable,
        column_default
    FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, column_name
"""
INDEXES = """
    SELECT regexp_replace(indexdef, '\\((\\w+)\\)::text', '\\1', 'g')
    FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname
"""
OWNER, LOGIN = "latchkey_owner", "latchkey_login"
# Only the migrations have these, since each kind of database has expressions of its own.
BY_EXPRESSION = ["ix_audit_successor", "ix_credential_name"]


@pytest.fixture
def empty(postgresql: Postgresql) -> Iterator[str]:
    """The name of a database without tables."""
    name = postgresql.new_database()
    yield name
    postgresql.drop_database(name)


def engine_of(postgresql: Postgresql, database: str) -> Engine:
    """An engine that keeps no connection."""
    return create_engine(postgresql.url(database), poolclass=NullPool)


def make_former(engine: Engine) -> None:
    """Create the tables of an earlier version."""
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0012")


def schema(postgresql: Postgresql, database: str) -> set[tuple[object, ...]]:
    """The columns and indexes of a database, except alembic's."""
    rows = {
        row for query in (COLUMNS, INDEXES) for row in postgresql.execute(query, database=database)
    }
    return {row for row in rows if "alembic_version" not in " ".join(map(str, row))}


def test_the_schema_equals_that_created_from_the_tables(postgresql: Postgresql, empty: str) -> None:
    metadata.create_all(engine_of(postgresql, empty))
    name = postgresql.new_migrated_database()
    created, migrated = schema(postgresql, empty), schema(postgresql, name)
    assert created - migrated == set()
    assert sorted(str(index).split()[2] for (index,) in migrated - created) == BY_EXPRESSION
    postgresql.drop_database(name)


def test_a_database_of_an_earlier_version_keeps_its_keys_and_counts_their_refusals(
    postgresql: Postgresql, empty: str
) -> None:
    """Of a version without the table of the refusals by limits."""
    make_former(engine_of(postgresql, empty))
    postgresql.execute(
        "INSERT INTO credential (api_key, secret_hash, derivation_id, account_id, mode, name, "
        "scopes, created_at) SELECT 'ak_live_0000000000000000000001', sha256(''), "
        "'0123456789abcdef', id, 'live', 'kept', '*', 1 FROM account WHERE instance = 1",
        database=empty,
    )
    url = postgresql.url(empty)
    report = migrate(location_of(url).conninfo())
    assert (report.created, report.active_by_derivation) == (False, {"0123456789abcdef": 1})
    with closing(database_at(url).open_store()) as store:
        (kept,) = store.page(None, 10, None)
        assert (kept.id, kept.name) == (1, "kept")
        for refused in (2, 5):
            store.usage.flush(SEGMENT, [tally(kept.id, 1, rate_limited=refused)], NOW)
        limited = store.listing.limited(NOW - timedelta(hours=1), 10)
        assert [(one.id, count) for one, count in limited.first] == [(1, 5)]


def test_of_boxes_that_start_at_once_one_migrates_and_the_others_change_nothing(
    postgresql: Postgresql, postgresql_url: str
) -> None:
    """Another box has migrated the database since it was compared, and runs already."""
    with closing(database_at(postgresql_url).open_store()) as store:
        assert store.boxes is not None
        store.boxes.register(NewBox("1", "box", "1", newest_revision(), (), 1, 60_000, 0, NOW))
        assert upgrade(location_of(postgresql_url).conninfo(), "SELECT 1", "public") is None
        assert [box.id for box in store.boxes.live()] == ["1"]


@pytest.fixture
def login(postgresql: Postgresql, empty: str) -> Iterator[str]:
    """A role that acts as another one, the owner of the database."""
    for statement in (
        f"CREATE ROLE {OWNER}",
        f"CREATE ROLE {LOGIN} LOGIN IN ROLE {OWNER}",
        f"ALTER ROLE {LOGIN} SET role = '{OWNER}'",
        f"ALTER DATABASE {empty} OWNER TO {OWNER}",
    ):
        postgresql.execute(statement)
    postgresql.execute(f"GRANT ALL ON SCHEMA public TO {OWNER}", database=empty)
    yield LOGIN
    postgresql.execute(f"DROP OWNED BY {OWNER} CASCADE", database=empty)
    postgresql.execute(f"ALTER DATABASE {empty} OWNER TO {USER}")
    postgresql.execute(f"DROP ROLE {LOGIN}, {OWNER}")


@pytest.mark.parametrize("may_end", [True, False], ids=["permitted", "not permitted"])
def test_a_migration_ends_earlier_connections_of_its_role_if_that_is_permitted(
    postgresql: Postgresql, empty: str, login: str, may_end: bool
) -> None:
    make_former(create_engine(postgresql.url(empty, user=login), poolclass=NullPool))
    if not may_end:
        revoked = "REVOKE ALL ON FUNCTION pg_terminate_backend FROM PUBLIC"
        postgresql.execute(revoked, database=empty)
    conninfo = location_of(postgresql.url(empty, user=login)).conninfo()
    with (
        closing(psycopg.connect(conninfo, autocommit=True)) as former,
        closing(postgresql.connect(empty)) as other_role,
    ):
        assert not migrate(conninfo).created
        if may_end:
            with pytest.raises(psycopg.OperationalError):
                former.execute("SELECT 1")
        else:
            former.execute("SELECT 1")
        other_role.execute("SELECT 1")
