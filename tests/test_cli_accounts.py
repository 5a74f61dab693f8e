"""Accounts on the command line, and the keys that belong to them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.command_line import at_terminal, fails, listed, made, shown
from tests.support.latchkey_command import run, run_here
from tests.support.service import Pair, Service

NOBODY = "latchkey: No such account; name it by its id (acct_…) or its external id\n"


def create(box: Service, name: str = "Acme", *options: str) -> dict[str, Any]:
    return asked(box, "create", "--name", name, *options)


def asked(box: Service, *arguments: str) -> dict[str, Any]:
    fields = json.loads(run(box, "accounts", *arguments, "--json"))
    assert isinstance(fields, dict)
    return fields


def test_an_account_is_created_shown_and_changed(box: Service) -> None:
    options = ["--external-id", "customer-1", "--metadata", '{"plan": "größer"}']
    account = create(box, "Acme", *options)
    assert account["id"].startswith("acct_")
    expected = {
        "object": "account",
        "name": "Acme",
        "external_id": "customer-1",
        "metadata": {"plan": "größer"},
        "status": "active",
        "keys": 0,
        "instance": False,
    }
    assert account.items() >= expected.items()
    for reference in (account["id"], "customer-1"):
        assert asked(box, "show", reference).items() >= account.items()
    text = run(box, "accounts", "show", "customer-1")
    assert text.splitlines()[:3] == [
        f"id           {account['id']}",
        "name         Acme",
        "external_id  customer-1",
    ]
    changed = asked(box, "change", "customer-1", "--name", "Acme Ltd", "--external-id", "c/1")
    assert changed == {**account, "name": "Acme Ltd", "external_id": "c/1"}
    changed = asked(box, "change", "c/1", "--external-id", "", "--metadata", "null")
    assert (changed["external_id"], changed["metadata"]) == (None, None)
    assert fails(box, "accounts", "show", "c/1") == NOBODY


@pytest.mark.parametrize(
    ("options", "status", "line"),
    [
        (["--name", ""], 1, "latchkey: name: "),
        (["--name", "x", "--external-id", "with space"], 1, "latchkey: external_id: must be 1 to"),
        (["--name", "x", "--external-id", ""], 1, "latchkey: external_id: must be 1 to 255"),
        (["--name", "x", "--metadata", "{"], 2, "Error: --metadata must be a JSON object"),
        (["--name", "x", "--metadata", "[]"], 1, "latchkey: metadata: must be an object"),
        (
            ["--name", "x", "--metadata", '{"a":' + "[" * 32 + "]" * 32 + "}"],
            1,
            "latchkey: metadata: is nested too deeply",
        ),
        (
            ["--name", "x", "--metadata", json.dumps({"a": "x" * 800})],
            1,
            "latchkey: metadata: has more than 768 bytes",
        ),
        (["--name", "x", "--external-id", "taken"], 1, "latchkey: Another account has this ext"),
    ],
)
def test_create_refuses(box: Service, options: list[str], status: int, line: str) -> None:
    if "taken" in options:
        create(box, "first", "--external-id", "taken")
    before = run(box, "accounts", "list", "--json")
    said = fails(box, "accounts", "create", *options, status=status)
    assert said.splitlines()[-1].startswith(line)
    assert run(box, "accounts", "list", "--json") == before


def test_an_account_that_is_unknown_or_is_a_secret(box: Service) -> None:
    secret = made(box).api_secret
    for command in (["show"], ["disable"], ["change", "--name", "x"], ["revoke-keys", "--yes"]):
        for reference in ("nobody", "acct_0000000000000000000000", secret, ""):
            assert fails(box, "accounts", command[0], reference, *command[1:]) == NOBODY
    for command in (["keys", "list"], ["keys", "create", "--name", "x", "--scope", "a:read"]):
        assert fails(box, *command, "--account", secret) == NOBODY
    assert "Nothing to change" in fails(box, "accounts", "change", "x", status=2)


def test_the_instance_account(box: Service) -> None:
    (instance,) = [
        one
        for one in json.loads(run(box, "accounts", "list", "--json"))["accounts"]
        if one["instance"]
    ]
    assert instance["name"] == "Instance account"
    said = fails(box, "accounts", "disable", instance["id"])
    assert said == "latchkey: status: the instance account cannot be disabled\n"
    assert asked(box, "change", instance["id"], "--name", "Us")["name"] == "Us"
    assert shown(box, made(box).api_key)["account"] == instance["id"]


def test_the_list_is_searched_and_counts_keys(box: Service) -> None:
    for number in range(3):
        create(box, f"Searched {number}", "--external-id", f"searched-{number}")
    for _ in range(2):
        pair = made(box, "live", "--account", "searched-1", "--scope", "orders:read")
    run(box, "keys", "revoke", pair.api_key, "--yes")
    run(box, "accounts", "disable", "searched-2")
    found = json.loads(run(box, "accounts", "list", "--search", "SEARCHED", "--json"))["accounts"]
    assert [one["external_id"] for one in found] == ["searched-2", "searched-1", "searched-0"]
    assert [one["keys"] for one in found] == [0, 1, 0]
    done = run_here(box, "accounts", "list", "--search", "searched", "--limit", "2")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0] == ["account", "external id", "name", "status", "keys", "created"]
    assert [line[1:5] for line in lines[1:]] == [
        ["searched-2", "Searched 2", "disabled", "0"],
        ["searched-1", "Searched 1", "active", "1"],
    ]
    assert done.stderr == "and 1 more account; use --all to list all\n"
    options = ["--search", "searched", "--status", "disabled", "--json"]
    (only,) = json.loads(run(box, "accounts", "list", *options))["accounts"]
    assert only["external_id"] == "searched-2"
    # Longer than a pattern of SQLite can be.
    none = run(box, "accounts", "list", "--search", "x" * 60_000, "--json")
    assert json.loads(none)["accounts"] == []


def test_keys_of_an_account(box: Service) -> None:
    account = create(box, "Owner", "--external-id", "owner")
    own = made(box, "live", "--account", "owner", "--scope", "orders:read")
    by_id = made(box, "test", "--account", account["id"], "--scope", "orders:write")
    fields = shown(box, own.api_key)
    assert (fields["account"], fields["external_id"]) == (account["id"], "owner")
    found = listed(box, "--account", "owner")
    assert [one["api_key"] for one in found] == [by_id.api_key, own.api_key]
    assert [one["api_key"] for one in listed(box, "--account", "owner", "--mode", "live")] == [
        own.api_key
    ]
    other = made(box)
    rows = [line.split("\t") for line in run(box, "keys", "list", "--limit", "3").splitlines()]
    assert [row[-1] for row in rows] == ["account", "", "owner", "owner"]
    assert rows[1][0] == other.api_key
    for options, line in (
        ([], "latchkey: scopes: name the scopes of a key whose account you name"),
        (["--scope", "accounts:read"], "latchkey: scopes: accounts:read is only for keys of the"),
    ):
        said = fails(box, "keys", "create", "--name", "x", "--account", "owner", *options)
        assert said.startswith(line)
    successor = json.loads(run(box, "keys", "rotate", own.api_key, "--json"))
    assert (successor["account"], successor["external_id"]) == (account["id"], "owner")


def test_revoke_keys_shows_them_and_asks(box: Service) -> None:
    create(box, "Leaver", "--external-id", "leaver")
    live, test = (
        made(box, mode, "--account", "leaver", "--scope", "orders:read")
        for mode in ("live", "test")
    )
    command = ("accounts", "revoke-keys", "leaver")
    text = run(box, *command, "--dry-run")
    label = f"Leaver ({asked(box, 'show', 'leaver')['id']})"
    assert text == f"{test.api_key}\n{live.api_key}\nwould revoke 2 keys of {label}\n"
    done = run_here(box, *command)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{test.api_key}\n{live.api_key}\nlatchkey: nothing was done: ")
    status, screen = at_terminal(box, *command, prompt="[y/N]", typed="n\n")
    assert status == 1
    assert f"Revoke 2 keys of {label}? This cannot be undone. [y/N]" in screen
    assert [one["status"] for one in listed(box, "--account", "leaver")] == ["active"] * 2
    revoked = json.loads(run(box, *command, "--mode", "test", "--yes", "--json"))
    assert revoked == {
        "account": asked(box, "show", "leaver")["id"],
        "matched": 1,
        "revoked": 1,
        "api_keys": [test.api_key],
    }
    status, screen = at_terminal(box, *command, prompt="[y/N]", typed="y\n")
    assert status == 0
    assert f"revoked 1 key of {label}" in screen
    assert [one["status"] for one in listed(box, "--account", "leaver")] == ["revoked"] * 2
    assert run(box, *command) == f"revoked 0 keys of {label}\n"
    (entry,) = json.loads(run(box, "audit", "list", "--limit", "1", "--json"))["entries"]
    assert (entry["action"], json.loads(entry["detail"])) == ("account.revoke_keys", {"revoked": 1})


def test_changes_take_effect_in_every_worker_before_the_command_returns(box: Service) -> None:
    with box:
        create(box, "Customer", "--external-id", "effective")
        pair = made(box, "live", "--account", "effective", "--scope", "account:read")
        other = made(box)

        def answers(of: Pair) -> set[tuple[int, str | None]]:
            answers = [box.get("/v1/account", of.bearer) for _ in range(12)]
            return {(one.status, one.code if one.status != 200 else None) for one in answers}

        for command, expected in (
            ("enable", (200, None)),
            ("disable", (401, "key_disabled")),
            ("enable", (200, None)),
        ):
            assert answers(pair) != set()
            run(box, "accounts", command, "effective")
            assert answers(pair) == {expected}
            assert answers(other) == {(200, None)}
        run(box, "accounts", "revoke-keys", "effective", "--yes")
        assert answers(pair) == {(401, "key_revoked")}
        assert answers(other) == {(200, None)}


def test_the_usage_of_an_account_is_that_of_all_its_keys(box: Service) -> None:
    with box:
        account = create(box, "Used", "--external-id", "used")
        terms = ("--account", "used", "--scope", "account:read")
        first, second = (made(box, "live", *terms) for _ in range(2))
        test = made(box, "test", *terms)
        for pair in (first, first, second, test):
            assert box.get("/v1/account", pair.bearer).status == 200
        assert box.get("/v1/api_keys", first.bearer).status == 403
        run(box, "keys", "revoke", second.api_key, "--yes")
        assert box.get("/v1/account", second.bearer).status == 401
        usage = asked(box, "usage", "used")
        assert (usage["account"], usage["mode"]) == (account["id"], "live")
        assert (usage["requests"], usage["refusals"]["revoked"]) == (4, 1)
        assert asked(box, "usage", "used", "--mode", "test")["requests"] == 1
        text = run(box, "accounts", "usage", account["id"])
        assert "requests      4\n" in text
        assert "refused       revoked 1, scope 1\n" in text
    # The counts are those of the database now.
    assert asked(box, "usage", "used") == usage
