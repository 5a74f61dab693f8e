"""The ``latchkey`` command, as people and scripts run it: a process, its streams, its status."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import pty
import signal
import socket
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.config import MASK, Settings, variable
from tests.audited import new_trail, open_store
from tests.command import run_here
from tests.faults.processes import wait_until, workers
from tests.service import LATCHKEY, Pair, Service, free_port

MASTER = bytes(range(100, 164))
MISTAKEN = f"sk_live_{'7' * 71}"
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

Run = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The settings, the database and the keys of a service that does not run."""
    prepared = Service(tmp_path_factory.mktemp("box"))
    run_here(prepared, "init")
    return prepared


def fails(box: Service, *arguments: str, status: int = 1) -> str:
    """What a command says that fails: on standard error only, and without a traceback."""
    run = run_here(box, *arguments)
    assert (run.returncode, run.stdout) == (status, "")
    return run.stderr


def one_line(text: str) -> str:
    assert text.count("\n") == 1
    assert text.endswith("\n")
    return text[:-1]


def made(box: Service, mode: str = "live", *options: str, name: str = "test") -> Pair:
    """A credential, made without a process of its own."""
    run = run_here(box, "keys", "create", "--name", name, "--mode", mode, "--json", *options)
    fields = json.loads(run.stdout)
    return Pair(fields["api_key"], fields["api_secret"])


def listed(box: Service, *options: str) -> list[dict[str, Any]]:
    rows = json.loads(run_here(box, "keys", "list", "--json", *options).stdout)["credentials"]
    assert isinstance(rows, list)
    return rows


def shown(box: Service, api_key: str) -> dict[str, Any]:
    fields = json.loads(run_here(box, "keys", "show", api_key, "--json").stdout)
    assert isinstance(fields, dict)
    return fields


def at_terminal(box: Service, *arguments: str, prompt: str, typed: str) -> tuple[int, str]:
    """Run a command at a pseudo-terminal, type once it asks; its status and what is shown."""
    ours, theirs = pty.openpty()
    screen = b""
    with subprocess.Popen(
        [LATCHKEY, *arguments],
        cwd=box.directory,
        env=box.environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        try:
            while prompt.encode() not in screen:
                screen += os.read(ours, 4096)
            os.write(ours, typed.encode())
            while chunk := os.read(ours, 4096):
                screen += chunk
        except OSError:
            process.wait()  # what Linux answers when the other end has been closed
        finally:
            os.close(ours)
            process.kill()
    return process.returncode, screen.decode()


def test_help_names_every_command(box: Service) -> None:
    for option in ("--help", "-h"):
        text = run_here(box, option).stdout
        for command in ("serve", "init", "keys", "cache", "console", "config"):
            assert f"\n  {command} " in text
    for group, commands in {
        "keys": ("create", "list", "show", "usage", "change", "rotate", "revoke"),
        "cache": ("stats", "clear"),
        "console": ("generate", "instance-key"),
    }.items():
        text = run_here(box, group, "--help").stdout
        for command in commands:
            assert f"\n  {command} " in text


def test_the_version(box: Service) -> None:
    assert box.command("--version").stdout.startswith("latchkey, version ")


@pytest.mark.parametrize("mode", ["live", "test"])
def test_keys_create_json_is_one_object(box: Service, mode: str) -> None:
    run = run_here(box, "keys", "create", "--name", "N", "--mode", mode, "--json")
    assert (run.stderr, run.stdout.count("\n")) == ("", 1)
    fields = json.loads(run.stdout)
    assert list(fields) == [
        "api_key",
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
    assert run.stdout.endswith("The secret is shown this once.\n")
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
        (["--name", "x", "--scope", "everything"], "latchkey: scopes: allowed are *, "),
        (["--name", "x", "--expires-at", "tomorrow"], "latchkey: expires_at: must be a time as in"),
        (["--name", "x", "--expires-at", "2020-01-01T00:00:00Z"], "latchkey: expires_at: must lie"),
        (["--name", "x", "--expires-at", "2036-01-01T00:00:00"], "latchkey: expires_at: must be"),
    ],
)
def test_keys_create_refuses_what_cannot_be_stored(
    box: Service, options: list[str], line: str
) -> None:
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
    from tests.store.conftest import new_credential

    store = open_store(box.settings["LATCHKEY_DATABASE_URL"])
    before = listed(box)
    added = [store.add(new_credential(mode="test"), new_trail()) for _ in range(203)]
    store.close()
    rows = listed(box)
    assert [row["api_key"] for row in rows[:203]] == [row.api_key for row in added[::-1]]
    assert rows[203:] == before
    assert len(listed(box, "--limit", "150")) == 150
    assert len(listed(box, "--limit", "200")) == 200


def test_keys_list_for_a_person_cuts_nothing_off(box: Service) -> None:
    pair = made(box, "live", name="n" * 100)
    lines = run_here(box, "keys", "list", "--limit", "1").stdout.splitlines()
    assert lines[0].split() == ["key", "name", "mode", "scopes", "status", "made", "expires"]
    assert lines[1].split()[:5] == [pair.api_key, "n" * 100, "live", "*", "active"]
    assert lines[1].split()[6] == "never"


def test_a_name_that_looks_like_markup_is_shown_as_it_is(box: Service) -> None:
    made(box, "live", name="[red]alert[/red]")
    assert "[red]alert[/red]" in run_here(box, "keys", "list", "--limit", "1").stdout


def test_keys_show(box: Service) -> None:
    pair = made(box, "test", name="to be shown")
    fields = shown(box, pair.api_key)
    assert (fields["api_key"], fields["name"]) == (pair.api_key, "to be shown")
    assert fields in listed(box, "--limit", "1")
    text = run_here(box, "keys", "show", pair.api_key).stdout
    assert "name          to be shown\n" in text
    assert pair.api_secret not in text


@pytest.mark.parametrize("command", [["show"], ["revoke", "--yes"]])
@pytest.mark.parametrize(
    ("api_key", "line"),
    [
        ("ak_live_0000000000000000000000", "latchkey: No such credential"),
        ("ak_live_tooshort", "latchkey: that is not a well-formed API key (ak_…)"),
        ("ak_live_zzzzzzzzzzzzzzzzzzzzzz", "latchkey: that is not a well-formed API key (ak_…)"),
        ("", "latchkey: that is not a well-formed API key (ak_…)"),
    ],
)
def test_a_key_that_is_not_there(box: Service, command: list[str], api_key: str, line: str) -> None:
    assert one_line(fails(box, "keys", *command, api_key)) == line


def test_keys_revoke_with_yes(box: Service) -> None:
    pair = made(box)
    run = run_here(box, "keys", "revoke", pair.api_key, "--yes", "--json")
    assert json.loads(run.stdout) == {"api_key": pair.api_key, "revoked": True}
    assert run.stderr == ""
    assert shown(box, pair.api_key)["status"] == "revoked"
    again = fails(box, "keys", "revoke", pair.api_key, "--yes")
    assert one_line(again) == "latchkey: No such credential"


def test_keys_revoke_does_nothing_without_an_answer(box: Service) -> None:
    pair = made(box, name="kept")
    said = fails(box, "keys", "revoke", pair.api_key)
    assert f"Revoke {pair.api_key} (live, kept)? This cannot be undone. [y/N]" in said
    assert said.endswith("Aborted!\n")
    assert shown(box, pair.api_key)["status"] == "active"


@pytest.mark.parametrize("typed", ["n\n", "\n", "\x04"])
def test_keys_revoke_does_nothing_after_a_no(box: Service, typed: str) -> None:
    pair = made(box, name="kept")
    status, screen = at_terminal(box, "keys", "revoke", pair.api_key, prompt="[y/N]", typed=typed)
    assert status == 1
    assert "This cannot be undone." in screen
    assert "Traceback" not in screen
    assert shown(box, pair.api_key)["status"] == "active"


def test_keys_revoke_after_a_yes(box: Service) -> None:
    pair = made(box)
    status, screen = at_terminal(box, "keys", "revoke", pair.api_key, prompt="[y/N]", typed="y\n")
    assert status == 0
    assert f"revoked {pair.api_key}" in screen
    assert shown(box, pair.api_key)["status"] == "revoked"


def base62(text: str) -> int:
    number = 0
    for character in text:
        number = number * 62 + DIGITS.index(character)
    return number


@pytest.mark.parametrize("mode", ["live", "test"])
def test_console_generate_derives_a_pair_and_stores_nothing(box: Service, mode: str) -> None:
    before = listed(box)
    run = run_here(box, "console", "generate", "--mode", mode, "--json")
    assert (run.stderr, run.stdout.count("\n")) == ("", 1)
    pair = json.loads(run.stdout)
    assert list(pair) == ["api_key", "api_secret"]
    key = bytes.fromhex((box.directory / "secrets" / "derivation.key").read_text())
    secret = pair["api_secret"]
    assert (len(secret), secret[:30]) == (79, f"sk_{mode}_{pair['api_key'][8:]}")
    mac = hmac.digest(key, f"latchkey.v1:{pair['api_key']}".encode(), hashlib.sha256)
    assert base62(secret[30:73]) == int.from_bytes(mac)
    assert base62(secret[73:]) == zlib.crc32(secret[:73].encode())
    assert listed(box) == before


def test_console_generate_for_a_person(box: Service) -> None:
    lines = run_here(box, "console", "generate").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["api_key", "api_secret"]
    assert lines[0].split()[1][:8] == "ak_live_"


def test_console_generate_touches_no_database(tmp_path: Path) -> None:
    vendor = Service(tmp_path, LATCHKEY_DERIVATION_KEYS="ab" * 32)
    del vendor.settings["LATCHKEY_DERIVATION_KEY_FILE"]
    vendor.command("console", "generate")
    assert list(tmp_path.iterdir()) == []


def hkdf(master: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, an empty salt and one block of output."""
    extracted = hmac.digest(bytes(32), master, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


@pytest.mark.parametrize("name", ["eu-1", "Zürich", "a name with spaces"])
def test_console_instance_key(box: Service, tmp_path: Path, name: str) -> None:
    expected = hkdf(MASTER, b"latchkey.v1.instance:" + name.encode()).hex()
    master = tmp_path / "master.key"
    master.write_text(f"{MASTER.hex()}\n")
    command = ["console", "instance-key", "--name", name]
    run = run_here(box, *command, "--master-key-file", str(master))
    assert run.stdout == f"{expected}\n"
    run = run_here(box, *command, "--master-key-file", str(master), "--json")
    assert json.loads(run.stdout) == {"name": name, "derivation_key": expected}


def test_console_instance_key_from_standard_input(box: Service) -> None:
    run = subprocess.run(
        [LATCHKEY, "console", "instance-key", "--name", "eu-1", "--master-key-file", "-"],
        env=box.environment(),
        input=MASTER.hex(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == f"{hkdf(MASTER, b'latchkey.v1.instance:eu-1').hex()}\n"


def test_console_instance_key_asks_without_showing_what_is_typed(box: Service) -> None:
    command = ["console", "instance-key", "--name", "eu-1"]
    typed = f"{MASTER.hex()}\n"
    status, screen = at_terminal(box, *command, prompt="Master key (hex)", typed=typed)
    assert status == 0
    assert MASTER.hex() not in screen
    assert screen.endswith(f"{hkdf(MASTER, b'latchkey.v1.instance:eu-1').hex()}\r\n")


@pytest.mark.parametrize("content", [b"", b"abcd", b"z" * 64, bytes(range(200, 256)), b"ab" * 31])
def test_console_instance_key_refuses_a_bad_master_key(
    box: Service, tmp_path: Path, content: bytes
) -> None:
    master = tmp_path / "master.key"
    master.write_bytes(content)
    command = ["console", "instance-key", "--name", "x", "--master-key-file", str(master)]
    line = one_line(fails(box, *command))
    assert line == "Error: the master key must be at least 64 hex digits"


def test_config_shows_every_value_and_where_it_is_from(tmp_path: Path) -> None:
    secret = "ab" * 32
    box = Service(tmp_path, LATCHKEY_DERIVATION_KEYS=secret, LATCHKEY_WORKERS="3")
    del box.settings["LATCHKEY_DERIVATION_KEY_FILE"]
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
        (["keys", "show", MISTAKEN], 1, "latchkey: that is not a well-formed API key (ak_…)"),
        (["keys", "create"], 2, "Error: Missing option '--name'."),
        (["serve", "--workers", "0"], 1, "latchkey: LATCHKEY_WORKERS has a value that is not al"),
    ],
)
def test_the_status_of_a_process(
    box: Service, arguments: list[str], status: int, line: str
) -> None:
    run = box.command(*arguments, check=False)
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
        ["console", "instance-key"],
        ["console", "instance-key", "--name", "x", "--master-key-file", "/nonexistent"],
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
        ["console", "generate", MISTAKEN],
        ["console", "instance-key", "--name", "x", "--master-key-file", MISTAKEN],
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
        ["console", "generate"],
        ["config"],
    ],
)
@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("LATCHKEY_UNKNOWN", "confidential", "latchkey: unknown setting LATCHKEY_UNKNOWN; allowed"),
        ("LATCHKEY_WORKERS", "confidential", "latchkey: LATCHKEY_WORKERS has a value that is not"),
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
def test_a_missing_key_stops_before_a_database_is_made(tmp_path: Path, command: list[str]) -> None:
    box = Service(tmp_path)
    said = one_line(fails(box, *command))
    assert said.startswith("latchkey: there is no derivation key: set LATCHKEY_DERIVATION_KEYS")
    assert list(tmp_path.iterdir()) == []


def test_commands_that_only_look_make_no_database(tmp_path: Path) -> None:
    box = Service(tmp_path, LATCHKEY_DERIVATION_KEYS="ab" * 32)
    del box.settings["LATCHKEY_DERIVATION_KEY_FILE"]
    api_key = "ak_live_0000000000000000000000"
    for command in (["list"], ["show", api_key], ["revoke", api_key, "--yes"]):
        said = one_line(fails(box, "keys", *command))
        assert said == "latchkey: cannot find the database file: No such file or directory"
    assert list(tmp_path.iterdir()) == []


def test_keys_create_says_that_it_made_the_database(tmp_path: Path) -> None:
    box = Service(tmp_path, LATCHKEY_DERIVATION_KEYS="ab" * 32)
    del box.settings["LATCHKEY_DERIVATION_KEY_FILE"]
    run = run_here(box, "keys", "create", "--name", "x", "--json")
    assert run.stderr == f"made a new database, {box.settings['LATCHKEY_DATABASE_URL']}\n"
    assert json.loads(run.stdout)["name"] == "x"


@pytest.fixture
def serving(box: Service) -> Iterator[Callable[..., Service]]:
    """Serve over the module's database with more arguments for ``latchkey serve``."""
    started: list[subprocess.Popen[bytes]] = []

    def serve(*arguments: str) -> Service:
        service = Service(box.directory)
        service.port = free_port()
        service.log_path.unlink(missing_ok=True)
        bind = f"127.0.0.1:{service.port}"
        with service.log_path.open("wb") as log:
            service.process = subprocess.Popen(
                [LATCHKEY, "serve", "--bind", bind, *arguments],
                env=service.environment(),
                stdout=log,
                stderr=log,
            )
        started.append(service.process)
        wait_until(lambda: answers(service), f"an answer:\n{service.log}")
        return service

    yield serve
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def answers(service: Service) -> bool:
    try:
        return service.get("/health").status == 200
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_takes_bind_and_workers_and_ends_cleanly(
    serving: Callable[..., Service], number: signal.Signals
) -> None:
    service = serving("--workers", "3", "--threads", "1")
    # A worker that has not come so far as to start its threads does not hear the signal yet.
    wait_until(
        lambda: (
            [len(list(Path(f"/proc/{pid}/task").iterdir())) > 1 for pid in workers(service)]
            == [True] * 3
        ),
        "three workers",
    )
    assert service.process is not None
    service.process.send_signal(number)
    assert service.process.wait(60) == 0
    assert "Traceback" not in service.log
    assert not answers(service)


def test_serve_on_a_port_in_use_says_so(box: Service) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        run = box.command("serve", "--bind", bind, check=False)
    assert run.returncode != 0
    assert "Traceback" not in run.stderr
    assert f"Connection in use: ('127.0.0.1', {bind.split(':')[1]})" in run.stderr
    # Nor is anything left in memory.
    record = json.loads(box.database.with_name("latchkey.db-service").read_text())
    assert not Path(record["segment"]).exists()


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        ("--bind", "127.0.0.1:65536", "latchkey: LATCHKEY_BIND has a value that is not allowed."),
        ("--bind", "nowhere", "latchkey: LATCHKEY_BIND has a value that is not allowed."),
        ("--workers", "0", "latchkey: LATCHKEY_WORKERS has a value that is not allowed."),
        ("--threads", "many", "latchkey: LATCHKEY_THREADS has a value that is not allowed."),
    ],
)
def test_serve_refuses_bad_options(box: Service, option: str, value: str, line: str) -> None:
    assert one_line(fails(box, "serve", option, value)).startswith(line)


def test_a_locked_database_is_one_line(box: Service) -> None:
    from tests.faults.processes import other_process

    hold = "c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE')"
    pair = Pair(listed(box, "--limit", "1")[0]["api_key"], "")
    with other_process(hold, str(box.database)):
        said = one_line(fails(box, "keys", "revoke", "--yes", pair.api_key))
    assert said == "latchkey: OperationalError: database is locked"
