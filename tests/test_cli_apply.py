"""``latchkey apply``: accounts and keys as a file declares them, also after a crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from latchkey_service.cli import apply_steps
from latchkey_service.command_user import command_line_user
from tests.support.applying import ACCOUNT, KEY, applied, apply, problems
from tests.support.command_line import at_terminal, listed, made, shown
from tests.support.latchkey_command import run_here
from tests.support.service import Service


@pytest.fixture
def box(tmp_path: Path) -> Service:
    prepared = Service(tmp_path / "box")
    prepared.initialize()
    return prepared


def actions(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["action"], one.get("id") or one["account"]) for one in result["plan"]]


def active(box: Service, *options: str) -> list[str]:
    return [one["api_key"] for one in listed(box, *options) if one["status"] == "active"]


# ---- Plan and changes


def test_a_file_is_applied_and_a_second_run_changes_nothing(box: Service) -> None:
    text = f"""
[[keys]]
id = "billing"
name = "billing service"
mode = "test"
scopes = ["*"]
{ACCOUNT}
metadata = {{ plan = "gold", seats = 3 }}
{KEY}
expires_at = 2035-01-15
not_before = 2026-01-15T10:30:00+01:00
networks = ["192.0.2.0/24"]
networks_mode = "observe"
endpoints = ["GET /orders/**"]
metadata = {{ team = "a" }}
"""
    dry = apply(box, text, "--dry-run")
    assert dry.returncode == 3
    assert dry.stdout.splitlines()[:3] == [
        "create        account  acme",
        "              name: Acme Ltd",
        '              metadata: {"plan": "gold", "seats": 3}',
    ]
    assert dry.stdout.splitlines()[-1] == "3 to create"
    assert run_here(box, "accounts", "show", "acme").returncode == 1
    result = applied(box, text)
    assert (result["applied"], result["changes"]) == (True, 3)
    secrets = {one["id"]: one for one in result["secrets"]}
    fields = shown(box, secrets["production"]["api_key"])
    expected = {
        "external_id": "acme",
        "name": "Acme production",
        "mode": "live",
        "scopes": ["orders:read"],
        "expires_at": "2035-01-15T00:00:00.000Z",
        "not_before": "2026-01-15T09:30:00.000Z",
        "networks": ["192.0.2.0/24"],
        "networks_mode": "observe",
        "endpoints": ["GET /orders/**"],
        "metadata": {"team": "a", "latchkey": {"declared": "production"}},
    }
    assert fields.items() >= expected.items()
    billing = shown(box, secrets["billing"]["api_key"])
    assert (billing["external_id"], billing["mode"]) == (None, "test")
    with box:
        for one in secrets.values():
            bearer = {"Authorization": f"Bearer {one['api_secret']}"}
            assert box.get("/v1/account", bearer).status in (200, 403)
    again = apply(box, text, "--dry-run")
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "nothing to change")
    rows = run_here(box, "audit", "export").stdout
    assert actions(applied(box, text)) == [
        ("unchanged", "acme"),
        ("unchanged", "billing"),
        ("unchanged", "production"),
    ]
    assert run_here(box, "audit", "export").stdout == rows


def test_a_change_is_shown_as_a_difference_and_keeps_the_secret(box: Service) -> None:
    first = applied(box, ACCOUNT + KEY + 'networks = ["10.0.0.0/8"]\nmetadata = { a = 1 }')
    api_key = first["secrets"][0]["api_key"]
    text = ACCOUNT.replace("Ltd", "Group") + KEY.replace("read", "write") + "enabled = false"
    done = apply(box, text, "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "change        account  acme",
        "              name: Acme Ltd -> Acme Group",
        f"change        key      acme / production ({api_key})",
        "              scopes: orders:read -> orders:write",
        "              enabled: true -> false",
        "              networks: 10.0.0.0/8 -> none",
        '              metadata: {"a": 1} -> none',
        "2 to change",
        "made 2 changes",
    ]
    fields = shown(box, api_key)
    assert (fields["networks"], fields["enabled"], fields["scopes"]) == (
        None,
        False,
        ["orders:write"],
    )
    assert fields["metadata"] == {"latchkey": {"declared": "production"}}


def test_what_was_disabled_by_hand_stays_disabled_unless_the_file_says_otherwise(
    box: Service,
) -> None:
    api_key = applied(box, ACCOUNT + KEY)["secrets"][0]["api_key"]
    run_here(box, "keys", "change", api_key, "--disabled")
    run_here(box, "accounts", "disable", "acme")
    assert applied(box, ACCOUNT + KEY)["changes"] == 0
    assert applied(box, f'{ACCOUNT}status = "active"\n{KEY}enabled = true')["changes"] == 2
    assert shown(box, api_key)["enabled"] is True
    text = f'[[accounts]]\nexternal_id = "new"\nname = "n"\nstatus = "disabled"\n{KEY}'
    applied(box, text)
    account = json.loads(run_here(box, "accounts", "show", "new", "--json").stdout)
    assert account["status"] == "disabled"


def test_it_asks_and_does_only_what_it_showed(box: Service) -> None:
    file = box.directory / "keys.toml"
    refused = apply(box, ACCOUNT + KEY)
    assert refused.returncode == 1
    assert "this command asks for confirmation" in refused.stderr
    status, screen = at_terminal(box, "apply", str(file), prompt="[y/N]", typed="n\n")
    assert (status, "Make 2 changes? [y/N]" in screen) == (1, True)
    assert run_here(box, "accounts", "show", "acme").returncode == 1
    status, screen = at_terminal(box, "apply", str(file), prompt="[y/N]", typed="y\n")
    assert (status, "made 2 changes" in screen) == (0, True)


def test_only_keys_that_the_command_created_are_pruned(box: Service) -> None:
    both = ACCOUNT + KEY + KEY.replace("production", "second")
    created = {one["id"]: one["api_key"] for one in applied(box, both)["secrets"]}
    own = made(box, "live", "--account", "acme", "--scope", "a:read").api_key
    applied(box, f'[[keys]]\nid = "ours"\nname = "n"\nscopes = ["*"]\n{both}')
    result = applied(box, ACCOUNT + KEY)
    assert actions(result)[-1] == ("not declared", "second")
    assert result["changes"] == 0
    dry = apply(box, ACCOUNT + KEY, "--dry-run", "--prune")
    assert (dry.returncode, dry.stdout.splitlines()[-1]) == (3, "1 to revoke")
    before = active(box)
    assert applied(box, ACCOUNT + KEY, "--prune")["changes"] == 1
    assert set(before) - set(active(box)) == {created["second"]}
    assert own in active(box)
    # The instance account is one of the file's if it has the list.
    assert applied(box, "keys = []\n" + ACCOUNT + KEY, "--prune")["changes"] == 1
    assert applied(box, ACCOUNT, "--prune")["changes"] == 1
    assert active(box, "--account", "acme") == [own]


def test_the_successor_of_a_rotated_key_is_the_declared_one(box: Service) -> None:
    old = applied(box, ACCOUNT + KEY)["secrets"][0]["api_key"]
    rotated = run_here(box, "keys", "rotate", old, "--overlap", "3600", "--json").stdout
    new = json.loads(rotated)["api_key"]
    (_, row) = applied(box, ACCOUNT + KEY.replace("read", "write"))["plan"]
    assert (row["action"], row["api_key"]) == ("change", new)
    assert shown(box, old)["scopes"] == ["orders:read"]
    run_here(box, "keys", "revoke", new, "--yes")
    result = applied(box, ACCOUNT + KEY)
    assert actions(result)[-1] == ("create", "production")
    assert result["secrets"][0]["api_key"] not in (old, new)


def test_an_ambiguous_id_is_refused(box: Service) -> None:
    first = applied(box, ACCOUNT + KEY)["secrets"][0]["api_key"]
    mark = ["--metadata", json.dumps({"latchkey": {"declared": "production"}})]
    second = made(box, "live", "--account", "acme", "--scope", "a:read", *mark).api_key
    (line,) = problems(box, ACCOUNT + KEY)
    named = " and ".join(sorted([first, second]))
    assert line == f"accounts[0].keys[0].id: several keys have it: {named}; revoke all but one"
    run_here(box, "keys", "revoke", second, "--yes")
    assert applied(box, ACCOUNT + KEY)["changes"] == 0


# ---- Secrets and crashes


def test_secrets_are_written_to_a_new_private_file(box: Service, tmp_path: Path) -> None:
    file = tmp_path / "secrets.jsonl"
    result = applied(box, ACCOUNT + KEY, "--secrets", str(file))
    assert result["secrets"] == []
    assert file.stat().st_mode & 0o777 == 0o600
    (line,) = map(json.loads, file.read_text().splitlines())
    assert (line["account"], line["id"]) == ("acme", "production")
    assert shown(box, line["api_key"])["external_id"] == "acme"
    assert line["api_secret"].startswith("sk_live_")
    # Without a key to create, the file is not needed; with one, it is never overwritten.
    before = file.read_bytes()
    assert applied(box, ACCOUNT + KEY, "--secrets", str(file))["changes"] == 0
    more = ACCOUNT + KEY + KEY.replace("production", "second")
    done = apply(box, more, "--yes", "--secrets", str(file))
    assert done.returncode == 1
    assert (
        done.stderr == f"latchkey: nothing was changed: {file} already exists; name another file\n"
    )
    assert file.read_bytes() == before
    missing = tmp_path / "missing" / "file"
    done = apply(box, more, "--yes", "--secrets", str(missing))
    assert done.stderr == f"latchkey: nothing was changed: {missing}: No such file or directory\n"
    assert len(active(box, "--account", "acme")) == 1


@pytest.mark.parametrize("options", [[], ["--secrets", "secrets.jsonl"]])
def test_a_key_whose_secret_was_not_delivered_is_replaced(
    box: Service, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    """As after a crash between the creation of the keys and the writing of their secrets."""
    apply_plan = apply_steps.apply_plan

    def crash(plan: Any, session: Any, deliver: Any) -> None:
        def fail(created: object) -> None:
            raise OSError(28, "No space left on device")

        apply_plan(plan, session, fail)

    monkeypatch.setattr("latchkey_service.cli.apply.apply_plan", crash)
    done = apply(box, ACCOUNT + KEY, "--yes", *options)
    assert done.returncode == 1
    assert "sk_live_" not in done.stdout
    assert not (box.directory / "secrets.jsonl").exists()
    (lost,) = active(box, "--account", "acme")
    monkeypatch.undo()
    result = applied(box, ACCOUNT + KEY)
    assert actions(result) == [("unchanged", "acme"), ("replace", "production")]
    (secret,) = result["secrets"]
    assert active(box, "--account", "acme") == [secret["api_key"]]
    assert shown(box, lost)["status"] == "revoked"
    assert applied(box, ACCOUNT + KEY)["changes"] == 0


def test_two_runs_do_not_create_a_key_twice(box: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    created_twice = apply_steps._created_twice

    def late(created: Any, session: Any) -> Any:
        (ours,) = created
        mark = {"latchkey": {"declared": "production"}}
        session.credentials.issue(
            name="of the other run",
            caller=None,
            by=command_line_user(),
            account=ours.account_id,
            scopes=frozenset({"orders:read"}),
            metadata=json.dumps(mark),
        )
        return created_twice(created, session)

    monkeypatch.setattr(apply_steps, "_created_twice", late)
    done = apply(box, ACCOUNT + KEY, "--yes")
    assert done.returncode == 1
    assert (
        "another run of latchkey apply creates the same keys; run the command again" in done.stderr
    )
    assert "sk_live_" not in done.stdout
    assert len(active(box, "--account", "acme")) == 1
    assert len(listed(box, "--account", "acme")) == 2


def test_a_key_cannot_mark_itself_or_others(box: Service) -> None:
    """Otherwise a customer's key could get the scopes of a declared one."""
    marked = {"latchkey": {"declared": "production"}}
    with box:
        applied(box, ACCOUNT + KEY.replace('"orders:read"', '"credentials:write", "a:read"'))
        secret = applied(
            box, ACCOUNT + KEY.replace('production"\n', 'other"\n').replace("orders", "credentials")
        )["secrets"]
        pair = made(box, "live", "--account", "acme", "--scope", "credentials:write")
        assert secret
        create = {"name": "x", "scopes": ["credentials:read"]}
        path = "/v1/api_keys"
        answer = box.request("POST", path, pair.bearer, json_body={**create, "metadata": marked})
        assert (answer.status, answer.code) == (400, "invalid_field")
        own = f"{path}/{pair.api_key}"
        answer = box.request("PATCH", own, pair.bearer, json_body={"metadata": marked})
        assert (answer.status, answer.code) == (400, "invalid_field")
        other = f"{path}/{secret[0]['api_key']}"
        for metadata in ({}, None, {"latchkey": {"declared": "production"}}):
            answer = box.request("PATCH", other, pair.bearer, json_body={"metadata": metadata})
            assert (answer.status, answer.code) == (400, "invalid_field")
        kept = {"team": "b", "latchkey": {"declared": "other"}}
        answer = box.request("PATCH", other, pair.bearer, json_body={"metadata": kept})
        assert answer.status == 200
