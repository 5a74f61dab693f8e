"""The accounts of a restored database: none is lost, enabled, or gets a foreign external id."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import made, shown
from tests.support.latchkey_command import run, run_here
from tests.support.recorded import ROOT, put_in_place, read
from tests.support.service import Service

OF_0_2_0 = ROOT / "tests" / "data" / "upgrade" / "0.2.0"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that runs only if a test starts it."""
    prepared = Service(tmp_path_factory.mktemp("restore"), LATCHKEY_WORKERS="1")
    prepared.initialize()
    yield prepared
    prepared.stop()


def back_up(box: Service, name: str) -> Path:
    file = box.directory / f"{name}.db"
    run(box, "backup", str(file))
    return file


def restore(box: Service, file: Path) -> str:
    said = run(box, "restore", str(file), "--yes")
    assert "intact" in run(box, "audit", "verify")
    return said


def create(box: Service, external_id: str) -> str:
    """Create an account; returns its id."""
    options = ["--name", external_id, "--external-id", external_id, "--json"]
    return str(json.loads(run(box, "accounts", "create", *options))["id"])


def account(box: Service, reference: str) -> dict[str, Any]:
    fields = json.loads(run(box, "accounts", "show", reference, "--json"))
    assert isinstance(fields, dict)
    return fields


def accounts(box: Service) -> list[dict[str, Any]]:
    found = json.loads(run(box, "accounts", "list", "--json"))["accounts"]
    assert isinstance(found, list)
    return found


def instance(box: Service) -> str:
    """The id of the only instance account."""
    (found,) = [one["id"] for one in accounts(box) if one["instance"]]
    return str(found)


def edit(database: Path, *statements: str) -> None:
    """Change a database with other tools."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def detail_of_the_last(box: Service) -> dict[str, Any]:
    (entry,) = json.loads(run(box, "audit", "list", "--limit", "1", "--json"))["entries"]
    assert entry["action"] == "store.restore"
    detail = json.loads(entry["detail"])
    assert isinstance(detail, dict)
    return detail


def test_a_disabled_account_stays_disabled(box: Service) -> None:
    disabled, enabled = create(box, "disabled"), create(box, "enabled")
    pair = made(box, "live", "--account", disabled, "--scope", "account:read")
    run(box, "accounts", "disable", enabled)
    file = back_up(box, "disabled")
    run(box, "accounts", "disable", disabled)
    run(box, "accounts", "enable", enabled)
    run(box, "accounts", "change", disabled, "--name", "of later")
    said = restore(box, file)
    assert f"stays disabled: {disabled}\n" in said
    assert account(box, disabled)["status"] == "disabled"
    # Other changes are lost; a backup with a stricter state is restored as it is.
    assert account(box, disabled)["name"] == "disabled"
    assert account(box, enabled)["status"] == "disabled"
    assert detail_of_the_last(box)["accounts_disabled"] == [disabled]
    with box:
        answer = box.get("/v1/account", pair.bearer)
        assert (answer.status, answer.code) == (401, "key_disabled")
        run(box, "accounts", "enable", disabled)
        assert box.get("/v1/account", pair.bearer).status == 200


def test_accounts_that_the_backup_lacks_are_kept(box: Service) -> None:
    file = back_up(box, "lacking")
    before = len(accounts(box))
    active, disabled = create(box, "kept"), create(box, "kept-disabled")
    run(box, "accounts", "disable", disabled)
    key, revoked = (
        made(box, "live", "--account", active, "--scope", "a:read").api_key for _ in range(2)
    )
    lost = made(box, "live").api_key
    run(box, "keys", "revoke", revoked, "--yes")
    kept = [account(box, one) for one in (active, disabled)]
    said = restore(box, file)
    assert "kept: 2 accounts missing from the backup\n" in said
    assert detail_of_the_last(box)["accounts_kept"] == 2
    assert len(accounts(box)) == before + 2
    assert account(box, "kept") == kept[0]
    assert account(box, "kept-disabled") == kept[1]
    assert shown(box, key)["account"] == shown(box, revoked)["account"] == active
    assert run_here(box, "keys", "show", lost).returncode == 1
    # Numbers continue: a later account is listed first.
    assert create(box, "after-the-restore") == accounts(box)[0]["id"]


@pytest.mark.parametrize(
    "terms",
    [
        ("--account", "restricted", "--scope", "*"),
        ("--scope", "a:read"),
        ("--scope", "*:read"),
        ("--network", "192.0.2.0/24"),
        ("--disabled",),
    ],
    ids=" ".join,
)
def test_a_key_that_the_backup_lacks_cannot_be_registered_with_more_rights(
    box: Service, terms: tuple[str, ...]
) -> None:
    """A registration gives all scopes in the instance account, without conditions."""
    if not any(one["external_id"] == "restricted" for one in accounts(box)):
        create(box, "restricted")
    file = back_up(box, f"more-rights-{len(list(box.directory.glob('more-rights-*')))}")
    pair = made(box, "live", *terms)
    before = shown(box, pair.api_key)
    restore(box, file)
    body = {"api_key": pair.api_key, "api_secret": pair.api_secret}
    with box:
        assert box.request("POST", "/credentials", json_body=body).status == 409
    assert shown(box, pair.api_key) == before


def test_every_account_keeps_its_present_external_id(box: Service) -> None:
    first, second, third = (create(box, f"ext-{number}") for number in range(3))
    file = back_up(box, "external")
    run(box, "accounts", "change", first, "--external-id", "ext-moved")
    run(box, "accounts", "change", second, "--external-id", "")
    run(box, "accounts", "change", third, "--external-id", "ext-0")
    fourth = create(box, "ext-1")
    restore(box, file)
    found = {one: account(box, one)["external_id"] for one in (first, second, third, fourth)}
    assert found == {first: "ext-moved", second: None, third: "ext-0", fourth: "ext-1"}


def test_an_account_that_only_the_backup_has_loses_an_external_id_that_is_taken(
    box: Service,
) -> None:
    before = back_up(box, "only-before")
    old = create(box, "only")
    pair = made(box, "live", "--account", old, "--scope", "a:read")
    other = create(box, "only-other")
    file = back_up(box, "only")
    # As if the account had never been there: a restore alone would keep it.
    box.database.unlink()
    restored = run_here(box, "restore", str(before), "--yes")
    assert restored.returncode == 0
    new = create(box, "only")
    assert new != old
    run(box, "restore", str(file), "--yes")
    assert account(box, "only")["id"] == new
    assert account(box, old)["external_id"] is None
    assert account(box, "only-other")["id"] == other
    assert shown(box, pair.api_key)["account"] == old


def test_an_erased_account_stays_erased(box: Service) -> None:
    gone = create(box, "erased")
    pair = made(box, "live", "--account", gone, "--scope", "a:read")
    file = back_up(box, "erased")
    # The key is not revoked here, as if the previous database did not have it.
    edit(
        box.database,
        "UPDATE account SET (name, external_id, metadata, erased_at, disabled_at) = "
        f"(NULL, NULL, NULL, 1700000000000, 1700000000000) WHERE id = '{gone}'",
        f"DELETE FROM credential WHERE api_key = '{pair.api_key}'",
    )
    said = restore(box, file)
    assert f"stays erased: {gone}\n" in said
    assert f"stays revoked or expired: {pair.api_key}\n" in said
    found = account(box, gone)
    assert (found["name"], found["external_id"], found["metadata"]) == (None, None, None)
    assert found["status"] == "disabled"
    assert shown(box, pair.api_key)["status"] == "revoked"
    assert detail_of_the_last(box)["accounts_erased"] == [gone]


def test_a_token_belongs_to_the_account_under_which_it_was_imported_again(box: Service) -> None:
    then, now = create(box, "owner-then"), create(box, "owner-now")
    before = back_up(box, "owner-0")

    def import_for(owner: str) -> str:
        file = box.directory / "keys.jsonl"
        digest = hashlib.sha256(b"a token of two owners").hexdigest()
        line = {"name": "x", "sha256": digest, "account": owner, "scopes": ["a:read"]}
        file.write_text(json.dumps(line))
        return str(json.loads(run(box, "keys", "import", str(file), "--json"))["api_keys"][0])

    first = import_for(then)
    file = back_up(box, "owner-1")
    restore(box, before)
    import_for(now)
    restore(box, file)
    assert shown(box, first)["account"] == now


# ---- The instance account


@pytest.mark.parametrize("migrated", [True, False])
def test_a_backup_from_before_accounts(tmp_path: Path, migrated: bool) -> None:
    """Its migration makes an instance account of its own, in place of which the present stays."""
    box = Service(tmp_path)
    put_in_place(OF_0_2_0, box)
    file = tmp_path / "0.2.0.db"
    with closing(sqlite3.connect(box.database)) as source, closing(sqlite3.connect(file)) as copy:
        source.backup(copy)
    before = None
    if migrated:
        later = made(box)
        before = instance(box)
        run(box, "accounts", "change", before, "--name", "Us", "--external-id", "us")
        customer = create(box, "customer")
        run(box, "keys", "revoke", later.api_key, "--yes")
    restore(box, file)
    assert instance(box) == (before or instance(box))
    keys = json.loads(run(box, "keys", "list", "--json"))["credentials"]
    assert {one["account"] for one in keys} == {instance(box)}
    if migrated:
        assert (account(box, instance(box))["name"], account(box, "us")["id"]) == ("Us", before)
        assert account(box, "customer")["id"] == customer
        assert later.api_key in [one["api_key"] for one in keys]
    with box:
        for key in read(OF_0_2_0).keys:
            assert (box.get("/v1/account", key.bearer).status == 200) is key.accepted


def test_the_backup_of_another_instance_keeps_its_instance_account(tmp_path: Path) -> None:
    """As on a new machine where an instance was set up first, and the key files copied later."""
    source = Service(tmp_path / "source")
    source.initialize()
    pair = made(source)
    customer = create(source, "customer")
    file = back_up(source, "moved")
    target = Service(tmp_path / "target")
    target.initialize()
    # The databases of tests are copies of one.
    edit(
        target.database,
        f"UPDATE account SET id = 'acct_{'t' * 22}'",
        f"UPDATE credential SET account_id = 'acct_{'t' * 22}'",
    )
    revoked = made(target)
    run(target, "keys", "revoke", revoked.api_key, "--yes")
    theirs = create(target, "of-the-target")
    run(target, "accounts", "change", instance(target), "--external-id", "customer")
    shutil.copy(source.directory / "secrets" / "derivation.key", target.directory / "secrets")
    run(target, "restore", str(file), "--yes")
    assert instance(target) == instance(source)
    assert account(target, "customer")["id"] == customer
    assert account(target, theirs)["keys"] == 0
    assert shown(target, revoked.api_key)["account"] == instance(source)
    with target:
        assert target.get("/v1/account", pair.bearer).json["id"] == instance(source)
