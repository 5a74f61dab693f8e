"""Changing, rotating and usage of keys on the command line, with and without a service."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support.command_line import made, shown
from tests.support.faults.service_processes import wait_until
from tests.support.latchkey_command import run_here
from tests.support.service import Pair, Service

ROOT = Path(__file__).parents[1]


def refused(box: Service, *arguments: str) -> tuple[int, str]:
    run = run_here(box, *arguments)
    assert run.stdout == ""
    return run.returncode, run.stderr.splitlines()[-1]


def test_keys_change(box: Service) -> None:
    pair = made(box)
    run = run_here(
        *(box, "keys", "change", pair.api_key, "--json", "--name", "new"),
        *("--scope", "account:read", "--scope", "credentials:read"),
        *("--expires-at", "2036-01-01T00:00:00Z"),
    )
    fields = json.loads(run.stdout)
    assert fields.items() <= shown(box, pair.api_key).items()
    assert (fields["name"], fields["scopes"], fields["expires_at"]) == (
        "new",
        ["account:read", "credentials:read"],
        "2036-01-01T00:00:00.000Z",
    )
    text = run_here(box, "keys", "change", pair.api_key, "--expires-at", "never").stdout
    assert "name           new\n" in text
    assert shown(box, pair.api_key)["expires_at"] is None


def test_conditions_are_given_changed_and_removed(box: Service) -> None:
    options = ["--disabled", "--not-before", "2035-01-15", "--network", "192.0.2.0/24"]
    options += ["--network", "2001:db8::/32", "--networks-mode", "observe"]
    options += ["--endpoint", "GET /orders/**", "--metadata", '{"team": "bühne"}']
    pair = made(box, "live", *options)
    conditions = {
        "enabled": False,
        "not_before": "2035-01-15T00:00:00.000Z",
        "networks": ["192.0.2.0/24", "2001:db8::/32"],
        "networks_mode": "observe",
        "endpoints": ["GET /orders/**"],
        "metadata": {"team": "bühne"},
    }
    assert shown(box, pair.api_key).items() >= conditions.items()
    text = run_here(box, "keys", "show", pair.api_key).stdout
    assert "enabled        no\n" in text
    assert "networks       192.0.2.0/24 2001:db8::/32\n" in text
    remove = ["--enabled", "--not-before", "never", "--any-network", "--any-endpoint"]
    remove += ["--networks-mode", "enforce", "--metadata", "null"]
    assert run_here(box, "keys", "change", pair.api_key, *remove).returncode == 0
    removed = dict.fromkeys(("not_before", "networks", "endpoints", "metadata"))
    assert shown(box, pair.api_key).items() >= {**removed, "enabled": True}.items()
    entries = json.loads(run_here(box, "audit", "list", "--json").stdout)["entries"]
    detail = json.loads(entries[0]["detail"])
    assert detail["networks"] == [["192.0.2.0/24", "2001:db8::/32"], None]
    assert detail["enabled"] == [False, True]
    assert detail["networks_mode"] == ["observe", "enforce"]


@pytest.mark.parametrize(
    ("options", "status", "line"),
    [
        (["--network", "10.0.0.1/8"], 1, "latchkey: networks.0: has bits set behind its prefix"),
        (["--endpoint", "get /"], 1, "latchkey: endpoints.0: write a method and a path"),
        (["--metadata", "[]"], 1, "latchkey: metadata: must be an object"),
        (["--metadata", "{"], 2, "Error: --metadata must be a JSON object"),
        (["--network", "::1", "--any-network"], 2, "Error: Give --network or --any-network, not"),
        (["--endpoint", "GET /", "--any-endpoint"], 2, "Error: Give --endpoint or --any-endpoint,"),
    ],
)
def test_invalid_conditions_are_refused(
    box: Service, options: list[str], status: int, line: str
) -> None:
    pair = made(box)
    before = shown(box, pair.api_key)
    run = run_here(box, "keys", "change", pair.api_key, *options)
    assert run.returncode == status
    assert run.stderr.splitlines()[-1].startswith(line)
    assert shown(box, pair.api_key) == before


@pytest.mark.parametrize(
    ("options", "status", "line"),
    [
        ([], 2, "Error: Nothing to change: give --name, --scope, --expires-at, limits"),
        (["--name", ""], 1, "latchkey: name: "),
        (["--scope", "everything"], 1, "latchkey: scopes: a scope is <resource>:<action> or "),
        (["--expires-at", "2020-01-01T00:00:00Z"], 1, "latchkey: expires_at: must lie in the fu"),
    ],
)
def test_keys_change_refuses(box: Service, options: list[str], status: int, line: str) -> None:
    pair = made(box)
    before = shown(box, pair.api_key)
    got, said = refused(box, "keys", "change", pair.api_key, *options)
    assert (got, said[: len(line)]) == (status, line)
    assert shown(box, pair.api_key) == before


def test_keys_rotate(box: Service) -> None:
    old = made(box, "live", "--scope", "account:read")
    run = run_here(box, "keys", "rotate", old.api_key, "--overlap", "3600", "--json")
    new = json.loads(run.stdout)
    assert new["api_secret"].startswith(f"sk_live_{new['api_key'][8:]}")
    assert (new["scopes"], new["expires_at"]) == (["account:read"], None)
    ended = shown(box, old.api_key)
    assert ended["rotated_to"] == new["api_key"]
    left = datetime.fromisoformat(ended["expires_at"]) - datetime.fromisoformat(new["created_at"])
    assert left == timedelta(hours=1)
    assert refused(box, "keys", "rotate", old.api_key) == (
        1,
        f"latchkey: Already rotated; its successor is {new['api_key']}",
    )
    text = run_here(box, "keys", "rotate", new["api_key"]).stdout
    assert text.endswith("The secret is shown only once.\n")
    assert refused(box, "keys", "rotate", old.api_key, "--overlap", "2592001")[0] == 2


@pytest.mark.parametrize("command", [["change", "--name", "x"], ["rotate"], ["usage"]])
def test_an_unknown_key(box: Service, command: list[str]) -> None:
    for api_key, line in (
        ("ak_live_0000000000000000000000", "latchkey: No such credential"),
        ("ak_live_short", "latchkey: the argument is not a well-formed API key (ak_…)"),
    ):
        assert refused(box, "keys", command[0], api_key, *command[1:]) == (1, line)


def test_usage_of_a_key_that_was_never_used(box: Service) -> None:
    pair = made(box)
    text = run_here(box, "keys", "usage", pair.api_key).stdout
    assert [line.split() for line in text.splitlines()] == [
        ["api_key", pair.api_key],
        ["requests", "0"],
        ["last_used_at", "never"],
        ["refused", "never"],
    ]


@pytest.mark.parametrize("command", ["stats", "clear"])
def test_the_cache_commands_without_a_service(box: Service, command: str) -> None:
    status, line = refused(box, "cache", command)
    assert status == 1
    assert line.startswith("latchkey: ")


def test_with_a_service(box: Service) -> None:
    with box:
        pair = made(box)
        for _ in range(3):
            assert box.get("/v1/account", pair.bearer).status == 200
        text = run_here(box, "keys", "usage", pair.api_key).stdout
        assert "requests      3\n" in text
        assert shown(box, pair.api_key)["last_used_at"] is not None
        stats = json.loads(run_here(box, "cache", "stats", "--json").stdout)
        assert stats["segment"].startswith("/dev/shm/latchkey-")
        assert stats["workers"]["selects"] >= 1
        assert stats["shared"]["capacity"] > 0
        assert run_here(box, "cache", "clear", "--json").stdout == '{"cleared": true}\n'
        run_here(box, "keys", "revoke", "--yes", pair.api_key)
        for _ in range(3):
            assert box.get("/v1/account", pair.bearer).status == 401
        text = run_here(box, "keys", "usage", pair.api_key).stdout
        assert "refused       revoked 3\n" in text
    assert (
        json.loads(run_here(box, "keys", "usage", pair.api_key, "--json").stdout)["requests"] == 3
    )


# A user's own application: each worker attaches to the shared memory by itself.
_JOINED = """
import sys
from wsgiref.util import setup_testing_defaults
from latchkey import Latchkey
def application(environ, start_response):
    start_response("200 OK", [])
    return []
protected = Latchkey.join().middleware(application)
def ask(secret):
    environ = {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
    setup_testing_defaults(environ)
    got = []
    list(protected(environ, lambda status, headers, exc=None: got.append(status)))
    return got[0][:3]
print("ready", flush=True)
for line in sys.stdin:
    print(ask(line.strip()), flush=True)
"""


@pytest.fixture
def joined(box: Service) -> Iterator[list[subprocess.Popen[str]]]:
    """Two workers of a user's own application."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _JOINED],
            cwd=box.directory,
            env={**box.environment(), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    with ExitStack() as ends:
        for process in processes:
            ends.enter_context(process)
        yield processes
        for process in processes:
            process.kill()


def ask(process: subprocess.Popen[str], pair: Pair) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{pair.api_secret}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_workers_of_a_users_own_application(
    box: Service, joined: list[subprocess.Popen[str]]
) -> None:
    pair = made(box)
    for process in joined:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for _ in range(3):
        assert [ask(process, pair) for process in joined] == ["200", "200"]
    run_here(box, "keys", "revoke", "--yes", pair.api_key)
    assert [ask(process, pair) for process in joined] == ["401", "401"]
    memory = Path(json.loads(run_here(box, "cache", "stats", "--json").stdout)["segment"])
    for process in joined:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0
    wait_until(lambda: not memory.exists(), "the memory to be removed")
    said = json.loads(run_here(box, "keys", "usage", pair.api_key, "--json").stdout)
    assert (said["requests"], said["refusals"]["revoked"]) == (6, 2)


def test_keys_list_due(box: Service) -> None:
    old, rotated, test = made(box), made(box), made(box, "test")
    with closing(sqlite3.connect(box.database)) as connection, connection:
        connection.execute(
            "UPDATE credential SET created_at = created_at - ? WHERE api_key IN (?, ?, ?)",
            (90 * 86_400_000, old.api_key, rotated.api_key, test.api_key),
        )
    run_here(box, "keys", "rotate", rotated.api_key)

    def due(*options: str) -> list[str]:
        listed = run_here(box, "keys", "list", "--due", "--json", *options).stdout
        return [fields["api_key"] for fields in json.loads(listed)["credentials"]]

    assert due() == [test.api_key, old.api_key]
    assert due("--mode", "live") == [old.api_key]
    assert due("--limit", "1") == [test.api_key]


@pytest.mark.parametrize("name", ["\u200b", "\u3164", "\u2800\u2800", "\xa0", ""])
def test_a_name_without_a_visible_character_is_refused(
    box: Service, tmp_path: Path, name: str
) -> None:
    pair = made(box)
    master = tmp_path / "master"
    master.write_text("ab" * 32)
    imported = tmp_path / "keys.jsonl"
    imported.write_text(json.dumps({"name": name, "sha256": "ab" * 32}))
    for arguments in (
        ["keys", "create", "--name", name],
        ["keys", "change", pair.api_key, "--name", name],
        ["keys", "import", str(imported)],
        ["admin", "create", name, "--password-stdin"],
        ["vendor", "instance-key", "--name", name, "--master-key-file", str(master)],
    ):
        done = run_here(box, *arguments, standard_input="correct horse battery\n")
        assert done.returncode != 0, arguments
        assert "name" in done.stderr
        assert "Traceback" not in done.stderr
    assert shown(box, pair.api_key)["name"] == "test"
