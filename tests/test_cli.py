"""The ``latchkey`` command as people and scripts run it: process, streams and exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latchkey.config import MASK, Settings, variable
from tests.support.audited import add, open_store
from tests.support.command_line import at_terminal, fails, listed, made, one_line, shown
from tests.support.latchkey_command import run_here
from tests.support.service import Pair, Service

MISTAKEN = f"sk_live_{'7' * 71}"


def test_help_names_every_command(box: Service) -> None:
    for option in ("--help", "-h"):
        text = run_here(box, option).stdout
        for command in ("serve", "init", "keys", "cache", "vendor", "config"):
            assert f"\n  {command} " in text
    for group, commands in {
        "keys": ("create", "list", "show", "usage", "change", "rotate", "revoke"),
        "cache": ("stats", "clear"),
        "vendor": ("generate", "instance-key"),
    }.items():
        text = run_here(box, group, "--help").stdout
        for command in commands:
            assert f"\n  {command} " in text


@pytest.mark.parametrize("mode", ["live", "test"])
def test_keys_create_json_is_one_object(box: Service, mode: str) -> None:
    run = run_here(box, "keys", "create", "--name", "N", "--mode", mode, "--json")
    assert (run.stderr, run.stdout.count("\n")) == ("", 1)
    fields = json.loads(run.stdout)
    assert list(fields) == [
        "api_key",
        "account",
        "external_id",
        "name",
        "mode",
        "scopes",
        "status",
        "created_at",
        "expires_at",
        "revoked_at",
        "last_used_at",
        "rotate_by",
        "rotated_to",
        "origin",
        "enabled",
        "not_before",
        "networks",
        "networks_mode",
        "endpoints",
        "metadata",
        "limits",
        "limits_of",
        "api_secret",
    ]
    assert fields["api_key"].startswith(f"ak_{mode}_")
    assert fields["api_secret"].startswith(f"sk_{mode}_{fields['api_key'][8:]}")
    assert (fields["name"], fields["mode"], fields["scopes"]) == ("N", mode, ["*"])
    assert (fields["status"], fields["expires_at"], fields["revoked_at"]) == ("active", None, None)


def test_keys_create_for_a_person(box: Service) -> None:
    run = run_here(box, "keys", "create", "--name", "for a person")
    fields = dict(line.split(maxsplit=1) for line in run.stdout.splitlines() if "  " in line)
    assert fields["name"] == "for a person"
    assert fields["api_secret"].startswith(f"sk_live_{fields['api_key'][8:]}")
    assert run.stdout.endswith("The secret is shown only once.\n")
    assert fields["api_secret"] not in run_here(box, "keys", "show", fields["api_key"]).stdout


def test_keys_create_with_scopes_and_an_expiry(box: Service) -> None:
    options = ["--scope", "credentials:read", "--scope", "account:write"]
    pair = made(box, "live", *options, "--expires-at", "2036-02-29T12:00:00.5+01:00")
    fields = shown(box, pair.api_key)
    assert fields["scopes"] == ["account:write", "credentials:read"]
    assert fields["expires_at"] == "2036-02-29T11:00:00.500Z"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--name", ""], "latchkey: name: "),
        (["--name", "x" * 101], "latchkey: name: "),
        (["--name", "two\nlines"], "latchkey: name: "),
        (
            ["--name", "x", "--scope", "everything"],
            "latchkey: scopes: a scope is <resource>:<action> or ",
        ),
        (["--name", "x", "--expires-at", "2020-01-01T00:00:00Z"], "latchkey: expires_at: must lie"),
    ],
)
def test_keys_create_refuses_invalid_values(box: Service, options: list[str], line: str) -> None:
    before = len(listed(box))
    assert one_line(fails(box, "keys", "create", *options)).startswith(line)
    assert len(listed(box)) == before


def test_keys_list_json(box: Service) -> None:
    live, test = made(box, "live", name="newest live"), made(box, "test")
    rows = listed(box)
    assert [row["api_key"] for row in rows[:2]] == [test.api_key, live.api_key]
    assert all("api_secret" not in row for row in rows)
    assert {row["mode"] for row in listed(box, "--mode", "test")} == {"test"}
    assert [row["name"] for row in listed(box, "--mode", "live", "--limit", "1")] == ["newest live"]
    assert listed(box, "--limit", "1000") == rows


def test_keys_list_goes_past_one_page(box: Service) -> None:
    from tests.support.store.new_credentials import new_credential

    store = open_store(box.settings["LATCHKEY_DATABASE_URL"])
    before = listed(box)
    added = [add(store, new_credential(mode="test")) for _ in range(203)]
    store.close()
    rows = listed(box)
    assert [row["api_key"] for row in rows[:203]] == [row.api_key for row in added[::-1]]
    assert rows[203:] == before
    assert len(listed(box, "--limit", "150")) == 150
    assert len(listed(box, "--limit", "200")) == 200


def test_keys_list_for_a_person_truncates_nothing(box: Service) -> None:
    pair = made(box, "live", name="n" * 100)
    lines = run_here(box, "keys", "list", "--limit", "1").stdout.splitlines()
    titles = ["key", "name", "mode", "scopes", "status", "created", "expires", "account"]
    assert lines[0].split() == titles
    assert lines[1].split()[:5] == [pair.api_key, "n" * 100, "live", "*", "active"]
    assert lines[1].split()[6] == "never"


def test_a_name_that_looks_like_markup_is_shown_unchanged(box: Service) -> None:
    made(box, "live", name="[red]alert[/red]")
    assert "[red]alert[/red]" in run_here(box, "keys", "list", "--limit", "1").stdout


def test_keys_show(box: Service) -> None:
    pair = made(box, "test", name="to be shown")
    fields = shown(box, pair.api_key)
    assert (fields["api_key"], fields["name"]) == (pair.api_key, "to be shown")
    (row,) = listed(box, "--limit", "1")
    # A list does not have what remains of limits.
    assert fields == {**row, "remaining": [], "remaining_from": "database"}
    text = run_here(box, "keys", "show", pair.api_key).stdout
    assert "name           to be shown\n" in text
    assert pair.api_secret not in text


@pytest.mark.parametrize("command", [["show"], ["revoke", "--yes"]])
@pytest.mark.parametrize(
    ("api_key", "line"),
    [
        ("ak_live_0000000000000000000000", "latchkey: No such credential"),
        ("ak_live_tooshort", "latchkey: the argument is not a well-formed API key (ak_…)"),
        (
            "ak_live_zzzzzzzzzzzzzzzzzzzzzz",
            "latchkey: the argument is not a well-formed API key (ak_…)",
        ),
        ("", "latchkey: the argument is not a well-formed API key (ak_…)"),
    ],
)
def test_an_unknown_key(box: Service, command: list[str], api_key: str, line: str) -> None:
    assert one_line(fails(box, "keys", *command, api_key)) == line


def test_keys_revoke_with_yes(box: Service) -> None:
    pair = made(box)
    run = run_here(box, "keys", "revoke", pair.api_key, "--yes", "--json")
    assert json.loads(run.stdout) == {"api_key": pair.api_key, "revoked": True}
    assert run.stderr == ""
    assert shown(box, pair.api_key)["status"] == "revoked"
    again = fails(box, "keys", "revoke", pair.api_key, "--yes")
    assert one_line(again) == "latchkey: The key is already revoked"


@pytest.mark.parametrize("typed", ["n\n", "\n", "\x04"])
def test_keys_revoke_changes_nothing_after_no(box: Service, typed: str) -> None:
    pair = made(box, name="kept")
    status, screen = at_terminal(box, "keys", "revoke", pair.api_key, prompt="[y/N]", typed=typed)
    assert status == 1
    assert "This cannot be undone." in screen
    assert "Traceback" not in screen
    assert shown(box, pair.api_key)["status"] == "active"


def test_keys_revoke_after_yes(box: Service) -> None:
    pair = made(box)
    status, screen = at_terminal(box, "keys", "revoke", pair.api_key, prompt="[y/N]", typed="y\n")
    assert status == 0
    assert f"revoked {pair.api_key}" in screen
    assert shown(box, pair.api_key)["status"] == "revoked"


def test_config_shows_every_value_and_its_source(tmp_path: Path) -> None:
    secret = "ab" * 32
    box = Service(tmp_path, LATCHKEY_DERIVATION_KEYS=secret, LATCHKEY_WORKERS="3")
    del box.settings["LATCHKEY_DERIVATION_KEYS_FILE"]
    run = box.command("config", "--json")
    rows = {row["name"]: row for row in json.loads(run.stdout)["settings"]}
    assert list(rows) == [variable(field) for field in Settings.model_fields]
    for row in rows.values():
        assert list(row) == ["name", "value", "source", "help"]
        assert row["source"] == ("environment" if row["name"] in box.settings else "default")
    assert rows["LATCHKEY_WORKERS"]["value"] == "3"
    assert rows["LATCHKEY_THREADS"]["value"] == "4"
    assert rows["LATCHKEY_DERIVATION_KEYS"]["value"] == MASK
    assert rows["LATCHKEY_DERIVATION_KEYS_RETIRED"]["value"] == ""

    text = run_here(box, "config").stdout
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert lines["LATCHKEY_WORKERS"] == ["3", "environment"]
    assert lines["LATCHKEY_CACHE_TTL"] == ["300.0", "default"]
    assert secret not in text + run.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["config"], 0, ""),
        (
            ["keys", "show", MISTAKEN],
            1,
            "latchkey: the argument is not a well-formed API key (ak_…)",
        ),
        (["keys", "create"], 2, "Error: Missing option '--name'."),
        (["serve", "--workers", "0"], 1, "latchkey: --workers has an invalid value. "),
    ],
)
def test_the_exit_status(box: Service, arguments: list[str], status: int, line: str) -> None:
    run = box.executed(*arguments, check=False)
    assert run.returncode == status
    assert "Traceback" not in run.stderr
    assert "".join(run.stderr.splitlines()[-1:]).startswith(line)
    assert bool(run.stderr) == bool(line)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["keys"],
        ["unknown"],
        ["keys", "create"],
        ["keys", "create", "--name", "x", "--mode", "both"],
        ["keys", "show"],
        ["keys", "list", "--limit", "0"],
        ["keys", "list", "unexpected"],
        ["vendor", "instance-key"],
        ["vendor", "instance-key", "--name", "x", "--master-key-file", "/nonexistent"],
        ["serve", "--unknown"],
    ],
)
def test_wrong_usage_has_status_2(box: Service, arguments: list[str]) -> None:
    assert fails(box, *arguments, status=2)


@pytest.mark.parametrize(
    "arguments",
    [
        [MISTAKEN],
        [f"--{MISTAKEN}"],
        ["keys", MISTAKEN],
        ["keys", "show", MISTAKEN],
        ["keys", "show", "ak_live_0000000000000000000000", MISTAKEN],
        ["keys", "revoke", MISTAKEN],
        ["keys", "revoke", "--yes", MISTAKEN],
        ["keys", "create", "--name", "x", MISTAKEN],
        ["keys", "create", "--name", "x", "--mode", MISTAKEN],
        ["keys", "create", "--name", "x", "--scope", MISTAKEN],
        ["keys", "create", "--name", "x", "--expires-at", MISTAKEN],
        ["keys", "create", "--name", "x", f"--{MISTAKEN}"],
        ["keys", "list", "--limit", MISTAKEN],
        ["vendor", "generate", MISTAKEN],
        ["vendor", "instance-key", "--name", "x", "--master-key-file", MISTAKEN],
        ["serve", MISTAKEN],
        ["serve", "--bind", MISTAKEN],
        ["serve", "--workers", MISTAKEN],
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(box: Service, arguments: list[str]) -> None:
    run = run_here(box, *arguments)
    assert run.returncode in (1, 2)
    assert run.stdout == ""
    assert "7777" not in run.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["serve"],
        ["init"],
        ["keys", "create", "--name", "x"],
        ["keys", "list"],
        ["vendor", "generate"],
        ["config"],
    ],
)
@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("LATCHKEY_UNKNOWN", "confidential", "latchkey: unknown setting LATCHKEY_UNKNOWN; allowed"),
        ("LATCHKEY_WORKERS", "confidential", "latchkey: LATCHKEY_WORKERS has an invalid value"),
    ],
)
def test_a_bad_setting_stops_every_command(
    tmp_path: Path, command: list[str], name: str, value: str, line: str
) -> None:
    box = Service(tmp_path)
    box.settings[name] = value
    said = one_line(fails(box, *command))
    assert said.startswith(line)
    assert "confidential" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["serve"], ["keys", "create", "--name", "x"]])
def test_a_missing_key_stops_before_a_database_is_created(
    tmp_path: Path, command: list[str]
) -> None:
    box = Service(tmp_path)
    said = one_line(fails(box, *command))
    assert said.startswith("latchkey: there is no derivation key: set LATCHKEY_DERIVATION_KEYS")
    assert list(tmp_path.iterdir()) == []


def test_commands_that_only_read_create_no_database(tmp_path: Path) -> None:
    box = Service(tmp_path, LATCHKEY_DERIVATION_KEYS="ab" * 32)
    del box.settings["LATCHKEY_DERIVATION_KEYS_FILE"]
    api_key = "ak_live_0000000000000000000000"
    for command in (["list"], ["show", api_key], ["revoke", api_key, "--yes"]):
        said = one_line(fails(box, "keys", *command))
        assert said.startswith(f"latchkey: there is no database at {box.database} (LATCHKEY_DATAB")
    assert list(tmp_path.iterdir()) == []


def test_keys_create_reports_that_it_created_the_database(tmp_path: Path) -> None:
    box = Service(tmp_path, LATCHKEY_DERIVATION_KEYS="ab" * 32)
    del box.settings["LATCHKEY_DERIVATION_KEYS_FILE"]
    run = run_here(box, "keys", "create", "--name", "x", "--json")
    assert run.stderr == f"created the database {box.settings['LATCHKEY_DATABASE_URL']}\n"
    assert json.loads(run.stdout)["name"] == "x"


def test_a_locked_database_is_reported_in_one_line(box: Service) -> None:
    from tests.support.faults.service_processes import other_process

    hold = "c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE')"
    pair = Pair(listed(box, "--limit", "1")[0]["api_key"], "")
    with other_process(hold, str(box.database)):
        said = one_line(fails(box, "keys", "revoke", "--yes", pair.api_key))
    assert said == "latchkey: OperationalError: database is locked"
