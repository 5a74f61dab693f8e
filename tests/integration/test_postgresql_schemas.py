"""Schemas and search paths: all boxes use the same tables, or say what to correct."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from latchkey.errors import ConfigurationError, StoreError
from latchkey.store.audit_head import Seal
from latchkey.store.database_urls import database_at
from latchkey.store.postgresql.dialect import PostgresqlDialect
from latchkey.store.postgresql.location import location_of
from latchkey.store.postgresql.migrate import migrate
from latchkey.store.revisions import MIGRATIONS, newest_revision
from latchkey.store.tables import metadata
from tests.support.audited import add, new_seal
from tests.support.faults.service_processes import wait_until
from tests.support.postgresql import USER, Postgresql, programs
from tests.support.service import Service
from tests.support.store.new_credentials import new_credential

EARLIER = "0012"
"""The structure of an earlier version."""
OTHER_ROLE = "latchkey_elsewhere"


class Made:
    """A database, and statements of its operator."""

    def __init__(self, server: Postgresql, name: str) -> None:
        self._server = server
        self.name = name
        self.url = server.url(name)

    def run(self, *statements: str) -> None:
        for statement in statements:
            self._server.execute(statement.replace("{database}", self.name), database=self.name)

    def upgrade(self, revision: str) -> None:
        """Create the tables of an earlier version."""
        config = Config()
        config.set_main_option("script_location", MIGRATIONS)
        config.set_main_option("path_separator", "os")
        with create_engine(self.url, poolclass=NullPool).begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)

    def schemas(self) -> set[str]:
        """The schemas with tables of Latchkey."""
        query = "SELECT schemaname FROM pg_tables WHERE tablename IN ('credential', 'box')"
        return {name for (name,) in self._server.execute(query, database=self.name)}

    def revision(self, schema: str) -> str:
        query = f"SELECT version_num FROM {schema}.alembic_version"
        return str(self._server.execute(query, database=self.name)[0][0])

    def migrate(self) -> bool:
        """Migrate it; returns whether the tables were created."""
        return migrate(location_of(self.url).conninfo()).created


@pytest.fixture
def made(postgresql: Postgresql) -> Iterator[Made]:
    """A database without tables."""
    name = postgresql.new_database()
    yield Made(postgresql, name)
    postgresql.drop_database(name)


@pytest.fixture
def seal(tmp_path: Path) -> Seal:
    return new_seal(tmp_path / "latchkey.db")


def works(made: Made, seal: Seal) -> None:
    """Changes, lookups and numbers use the same tables."""
    with closing(database_at(made.url).open_store(seal=seal)) as store:
        added = add(store, new_credential())
        assert store.verifier(added.api_key) is not None
    with create_engine(made.url, poolclass=NullPool).connect() as connection:
        assert PostgresqlDialect().numbers(connection)["credential"] == added.id


def test_an_empty_schema_first_changes_nothing(made: Made, seal: Seal) -> None:
    made.upgrade(EARLIER)
    made.run("CREATE SCHEMA other", "ALTER DATABASE {database} SET search_path = other, public")
    assert not made.migrate()
    assert made.schemas() == {"public"}
    assert made.revision("public") == newest_revision()
    works(made, seal)


@pytest.mark.parametrize("is_first", [True, False], ids=["before the tables", "after them"])
def test_a_schema_that_is_named_like_the_role(made: Made, seal: Seal, is_first: bool) -> None:
    if not is_first:
        made.upgrade(EARLIER)
    made.run(f"CREATE SCHEMA {USER}")
    assert made.migrate() is is_first
    assert made.schemas() == {USER if is_first else "public"}
    works(made, seal)
    assert not made.migrate()


def test_other_tables_of_the_same_names_are_refused(
    made: Made, seal: Seal, postgresql: Postgresql
) -> None:
    made.migrate()
    with closing(database_at(made.url).open_store(seal=seal)) as running:
        added = add(running, new_credential())
        assert running.verifier(added.api_key) is not None
        made.run(
            "CREATE SCHEMA other",
            "CREATE TABLE other.credential (LIKE public.credential)",
            "ALTER DATABASE {database} SET search_path = other, public",
        )
        for refused in (made.migrate, database_at(made.url).exists):
            with pytest.raises(ConfigurationError, match='SET search_path = "public"'):
                refused()
        # A session keeps its path. The next one finds no key in the other table, which is no 401.
        assert running.verifier(added.api_key) is not None
        postgresql.end_connections(made.name)

        def refusal() -> str:
            with pytest.raises(StoreError) as caught:
                running.verifier(added.api_key)
            return caught.value.detail

        # At first it may be that the connection has ended.
        wait_until(lambda: "are in the schema public" in refusal(), "a new connection")


def test_connections_that_outlive_a_migration_are_refused_by_the_upkeep(
    made: Made, seal: Seal
) -> None:
    """A migration cannot end the connections of other processes to a pooler."""
    made.migrate()
    with closing(database_at(made.url).open_store(seal=seal)) as running:
        added = add(running, new_credential())
        assert running.verifier(added.api_key) is not None
        made.run("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(StoreError, match="revision 9999"):
            running.look_after()
        with pytest.raises(StoreError, match="revision 9999"):
            running.verifier(added.api_key)
        with pytest.raises(StoreError, match="revision 9999"):
            add(running, new_credential())


def test_a_connection_that_is_opened_during_a_migration_finds_its_revision(
    made: Made, postgresql: Postgresql
) -> None:
    """The former version would keep it: only older connections are ended."""
    made.upgrade(EARLIER)
    with ThreadPoolExecutor() as threads, postgresql.connect(made.name) as reader:
        reader.execute("BEGIN; SELECT 1 FROM credential")
        migration = threads.submit(made.migrate)

        def waits(table: str) -> bool:
            query = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
            return bool(postgresql.execute(query, table, database=made.name))

        wait_until(lambda: waits("credential"), "the migration")
        former = threads.submit(made.revision, "public")
        wait_until(lambda: former.done() or waits("alembic_version"), "the other connection")
        reader.execute("ROLLBACK")
        assert former.result() == newest_revision()
        assert not migration.result()


def test_a_role_whose_path_does_not_lead_to_the_tables_gets_none_of_its_own(made: Made) -> None:
    made.migrate()
    made.run("CREATE SCHEMA other", "ALTER DATABASE {database} SET search_path = other")
    with pytest.raises(ConfigurationError, match='SET search_path = "public"'):
        made.migrate()
    assert made.schemas() == {"public"}


@pytest.mark.parametrize("name", ["Capitals", "a b", 'a "quoted" one'])
def test_any_name_of_a_schema(made: Made, seal: Seal, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    path = "ALTER DATABASE {database} SET search_path ="
    made.run(f"CREATE SCHEMA {quoted}", f"{path} {quoted}")
    assert made.migrate()
    assert made.schemas() == {name}
    works(made, seal)
    # The statement of the message leads to it.
    made.run(f"{path} public")
    with pytest.raises(ConfigurationError) as refused:
        made.migrate()
    made.run(str(refused.value).partition("run: ")[2])
    assert not made.migrate()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM alembic_version", "no row in its table alembic_version: restore it"),
        ("INSERT INTO alembic_version VALUES ('0001')", r"several revisions \(.*\), and must have"),
    ],
    ids=["none", "several"],
)
def test_tables_without_exactly_one_revision_are_refused(
    made: Made, seal: Seal, statement: str, message: str
) -> None:
    made.migrate()
    made.run(statement)
    with pytest.raises(ConfigurationError, match=message):
        made.migrate()
    with (
        closing(database_at(made.url).open_store(seal=seal)) as store,
        pytest.raises(StoreError, match=message),
    ):
        store.check()


def test_temporary_tables_of_other_sessions_have_no_effect(
    made: Made, seal: Seal, postgresql: Postgresql
) -> None:
    made.migrate()
    with postgresql.connect(made.name) as other:
        for name in (*metadata.tables, "alembic_version"):
            other.execute(f"CREATE TEMPORARY TABLE {name} (LIKE public.{name})".encode())
        assert not made.migrate()
        works(made, seal)


def test_a_search_path_in_the_url_is_corrected_there(made: Made) -> None:
    made.migrate()
    made.run("CREATE SCHEMA other")
    url = f"{made.url}?options=-csearch_path%3Dother"
    with pytest.raises(ConfigurationError, match="options of LATCHKEY_DATABASE_URL"):
        database_at(url).exists()


def test_a_copy_of_the_tables_in_another_schema_is_refused(made: Made) -> None:
    made.migrate()
    made.run(
        "CREATE SCHEMA other",
        *(
            f"CREATE TABLE other.{name} (LIKE public.{name})"
            for name in (*metadata.tables, "alembic_version")
        ),
        "ALTER DATABASE {database} SET search_path = other",
    )
    with pytest.raises(ConfigurationError, match=r"several schemas \(other, public\)"):
        made.migrate()


def test_a_box_whose_role_has_another_path_does_not_start(
    tmp_path: Path, made: Made, postgresql: Postgresql
) -> None:
    """A schema that is named like the role comes first in the default path."""
    box = Service(tmp_path, LATCHKEY_DATABASE_URL=made.url, LATCHKEY_WORKERS="1")
    box.initialize()
    postgresql.execute(f"CREATE ROLE {OTHER_ROLE} SUPERUSER LOGIN")
    try:
        made.run(
            f"CREATE SCHEMA {OTHER_ROLE}",
            f"CREATE TABLE {OTHER_ROLE}.account (LIKE public.account)",
        )
        box.settings["LATCHKEY_DATABASE_URL"] = postgresql.url(made.name, user=OTHER_ROLE)
        for arguments in ("serve",), ("boxes",), ("keys", "list"):
            refused = box.command(*arguments, check=False)
            assert refused.returncode == 1
            (line,) = refused.stderr.splitlines()
            wanted = f'ALTER ROLE "{OTHER_ROLE}" IN DATABASE "{made.name}" SET search_path'
            assert f'{wanted} = "public"' in line
    finally:
        made.run(f"DROP SCHEMA {OTHER_ROLE} CASCADE")
        postgresql.execute(f"DROP ROLE {OTHER_ROLE}")


def test_a_dump_is_restored_into_the_same_schema(
    made: Made, seal: Seal, postgresql: Postgresql, tmp_path: Path
) -> None:
    made.run(f"CREATE SCHEMA {USER}")
    made.migrate()
    file = tmp_path / "latchkey.dump"
    restored = Made(postgresql, postgresql.new_database())
    try:
        client(postgresql, "pg_dump", "--format=custom", f"--file={file}", made.name)
        client(postgresql, "pg_restore", f"--dbname={restored.name}", str(file))
        assert not restored.migrate()
        works(restored, seal)
        restored.run("ALTER DATABASE {database} SET search_path = public")
        with pytest.raises(ConfigurationError, match=f"are in the schema {USER}"):
            restored.migrate()
    finally:
        postgresql.drop_database(restored.name)


def client(server: Postgresql, program: str, *arguments: str) -> None:
    """Run a client of PostgreSQL, by the unix socket."""
    found = programs()
    assert found is not None
    access = ["-h", str(server.directory), "-p", str(server.port), "-U", USER]
    subprocess.run([found / program, *access, *arguments], check=True)
