"""Erasing an account with real processes: the files keep none of its values, also later."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from latchkey.box.segment import changing_keys
from latchkey.config import load_settings
from latchkey.credentials.account_service import AccountService
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.service import CredentialService
from latchkey.key_files import load_derivation, load_seal
from latchkey.store.database_urls import database_of
from tests.support.audited import TESTER
from tests.support.latchkey_command import run_here
from tests.support.service import Pair, Service

NAME = "Annabel Erasable"
EXTERNAL = "external-7421-erasable"
METADATA = '{"mail":"annabel.erasable@example.org"}'
KEY_NAME = "desk of Annabel"
KEY_METADATA = '{"room":"erasable-room"}'
TEXTS = ("Annabel", "external-7421", "erasable", "127.0.0.91")


class ErasureBox:
    """A service with one customer that has a live and a test key."""

    def __init__(self, directory: Path) -> None:
        self.service = Service(directory, LATCHKEY_WORKERS="2", LATCHKEY_TRUSTED_PROXIES="1")
        self.service.initialize()

    @contextmanager
    def parts(self) -> Iterator[tuple[AccountService, CredentialService]]:
        settings = load_settings(self.service.environment())
        with changing_keys(settings) as shared:
            opened = database_of(settings).open_store(seal=load_seal(settings))
            with closing(opened) as store:
                publisher = Publisher(store.audit, shared.invalidate)
                yield (
                    AccountService(store.accounts, publisher),
                    CredentialService(store, load_derivation(settings), publisher),
                )

    def make_customer(self) -> tuple[str, list[Pair]]:
        with self.parts() as (accounts, credentials):
            account = accounts.create(
                name=NAME, external_id=EXTERNAL, metadata=METADATA, caller=None, by=TESTER
            )
            pairs = []
            for mode in ("live", "test"):
                issued = credentials.issue(
                    name=KEY_NAME,
                    account=account.id,
                    mode=mode,
                    scopes=frozenset({"account:read", "credentials:write"}),
                    metadata=KEY_METADATA,
                    caller=None,
                    by=TESTER,
                )
                pairs.append(Pair(issued.credential.api_key, issued.secret))
        return account.id, pairs

    def use(self, pair: Pair) -> int:
        headers = {**pair.bearer, "X-Forwarded-For": "127.0.0.91"}
        return self.service.get("/v1/account", headers).status

    def erase(self, account: str) -> dict[str, object]:
        done = run_here(self.service, "accounts", "erase", account, "--yes", "--json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    def contents(self) -> bytes:
        """The database, and whatever is beside it."""
        return b"".join(
            path.read_bytes() for path in self.service.database.parent.iterdir() if path.is_file()
        )

    def verify(self) -> str:
        done = run_here(self.service, "audit", "verify")
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture
def box(tmp_path: Path) -> ErasureBox:
    return ErasureBox(tmp_path)


def present(contents: bytes) -> list[str]:
    return [text for text in TEXTS if text.encode() in contents]


def test_nothing_of_an_erased_account_is_left_in_the_files(box: ErasureBox) -> None:
    with box.service:
        account, pairs = box.make_customer()
        assert [box.use(pair) for pair in pairs] == [200, 200]
        created = box.service.request(
            "POST",
            "/v1/api_keys",
            {**pairs[0].bearer, "X-Forwarded-For": "127.0.0.91"},
            json_body={"name": "made by the key of Annabel"},
        )
        assert created.status == 201
    assert present(box.contents()) == list(TEXTS)
    with box.service:
        assert [box.use(pair) for pair in pairs] == [200, 200]
        erased = box.erase(account)
        # Effective in every worker before the command returned.
        for _ in range(10):
            assert [box.use(pair) for pair in pairs] == [401, 401]
        assert (erased["keys"], erased["revoked"]) == (3, 3)
        assert "erased: " in box.verify()
    assert present(box.contents()) == []
    listed = json.loads(run_here(box.service, "keys", "list", "--all", "--json").stdout)
    mine = [key for key in listed["credentials"] if key["api_key"] == pairs[0].api_key]
    assert [key["name"] for key in mine] == [None]
    with box.service:
        assert [box.use(pair) for pair in pairs] == [401, 401]
    assert present(box.contents()) == []


def test_a_restored_backup_brings_nothing_back(box: ErasureBox) -> None:
    with box.service:
        account, pairs = box.make_customer()
        assert box.use(pairs[0]) == 200
    backup = box.service.directory / "before.db"
    assert run_here(box.service, "backup", str(backup)).returncode == 0
    box.erase(account)
    assert present(box.contents()) == []
    done = run_here(box.service, "restore", str(backup), "--yes")
    assert done.returncode == 0, done.stderr
    (former,) = box.service.database.parent.glob("*.before-restore-*")
    assert present(box.contents()) == []
    assert former.exists()
    assert "the audit log is intact" in box.verify()
    with box.service:
        assert [box.use(pair) for pair in pairs] == [401, 401]


def test_the_command_asks_and_names_what_cannot_be_erased(box: ErasureBox) -> None:
    account, _ = box.make_customer()
    asked = run_here(box.service, "accounts", "erase", account)
    assert asked.returncode == 1
    assert "use --yes" in asked.stderr
    assert present(box.contents())
    with box.parts() as (accounts, _):
        instance = accounts.instance().id
    refused = run_here(box.service, "accounts", "erase", instance, "--yes")
    assert refused.returncode == 1
    assert "the instance account cannot be erased" in refused.stderr
    unknown = run_here(box.service, "accounts", "erase", "acct_unknown", "--yes")
    assert unknown.returncode == 1
    # By the external id; then only the id is left.
    assert box.erase(EXTERNAL)["revoked"] == 2
    assert run_here(box.service, "accounts", "erase", EXTERNAL, "--yes").returncode == 1
    assert box.erase(account)["revoked"] == 0
