"""A store over PostgreSQL: a smoke test, and the URLs that name one.

``make test-integration`` runs the store's contract and the suite of the API on PostgreSQL.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from latchkey.config import load_settings
from latchkey.errors import ConfigurationError
from latchkey.shown_urls import without_password
from latchkey.store.database_urls import database_at, database_of
from tests.support.audited import add, new_seal, revoke
from tests.support.store.new_credentials import NOW, new_credential

if TYPE_CHECKING:
    from tests.support.postgresql import Postgresql

pytest.importorskip("psycopg")
BASE = "postgresql+psycopg://latchkey:the-password@db.example:5432/keys"


def test_a_revocation_in_one_store_is_read_by_another(
    postgresql: Postgresql, tmp_path: Path
) -> None:
    url = postgresql.url(postgresql.new_migrated_database())
    database = database_at(url)
    database.require()
    with (
        closing(database.open_store(seal=new_seal(tmp_path / "latchkey.db"))) as store,
        closing(database_at(url).open_store()) as other,
    ):
        added = add(store, new_credential())
        found = other.verifier(added.api_key)
        assert found is not None
        assert not found.revoked
        revoke(store, added.api_key, NOW)
        found = other.verifier(added.api_key)
        assert found is not None
        assert found.revoked
        assert store.audit.verify().findings == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (BASE, "postgresql+psycopg://latchkey@db.example:5432/keys"),
        ("postgresql+psycopg:///keys?host=/run", "postgresql+psycopg:///keys?host=/run"),
        (
            "postgresql+psycopg://u@h/keys?password=the-password&sslmode=require",
            "postgresql+psycopg://u@h/keys?sslmode=require",
        ),
        (
            "postgresql+psycopg://u@h/keys?p%61ssword=the-password",
            "postgresql+psycopg://u@h/keys",
        ),
        (
            "postgresql+psycopg://u@h/keys?scram_client_key=the-password&scram_server_key=b",
            "postgresql+psycopg://u@h/keys",
        ),
        (
            "postgresql+psycopg://u:the-password@h1:5432,h2:5433/keys",
            "postgresql+psycopg://u@h1:5432,h2:5433/keys",
        ),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    database = database_at(url)
    assert database.shown == without_password(url) == shown
    settings = load_settings({"LATCHKEY_DATABASE_URL": url})
    for text in (repr(database), repr(settings), str(settings), repr(vars(database))):
        assert "the-password" not in text


@pytest.mark.parametrize(
    "url",
    [
        BASE.replace("+psycopg", ""),
        BASE.replace("+psycopg", "+asyncpg"),
        BASE.replace("postgresql+psycopg", "postgres"),
        BASE.replace("the-password", "the-password/"),
        BASE.replace("the-password", "the-password@"),
        BASE.replace("the-password", "the-password?"),
        BASE.replace("/keys", ""),
        f"{BASE}?unknown=the-password",
    ],
)
def test_an_error_about_a_url_does_not_repeat_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        database_at(url).exists()
    assert "LATCHKEY_DATABASE_URL" in str(raised.value)
    assert "the-password" not in str(raised.value)


@pytest.mark.parametrize("content", ["", "\n", "one\ntwo\n", "one\0two\n", "one\ttwo"])
def test_a_password_file_has_one_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "password"
    file.write_text(content)
    file.chmod(0o600)
    given = {"LATCHKEY_DATABASE_URL": BASE, "LATCHKEY_DATABASE_PASSWORD_FILE": str(file)}
    with pytest.raises(ConfigurationError, match="must contain the password in one line"):
        database_of(load_settings(given)).exists()


def test_a_password_is_given_once(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("of-the-file\n")
    file.chmod(0o600)
    given = {"LATCHKEY_DATABASE_URL": BASE, "LATCHKEY_DATABASE_PASSWORD_FILE": str(file)}
    with pytest.raises(ConfigurationError, match="not both"):
        database_of(load_settings(given)).exists()
    with pytest.raises(ConfigurationError, match="not both"):
        load_settings({**given, "LATCHKEY_DATABASE_PASSWORD": "another"})
    with pytest.raises(ConfigurationError, match="is for PostgreSQL"):
        database_of(load_settings({"LATCHKEY_DATABASE_PASSWORD": "another"}))
