"""The first start, from nothing to lines that can be pasted, and rotation of derivation keys."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from latchkey.config import load_settings
from latchkey.credentials.derivation import DerivationKey
from latchkey.credentials.tokens import new_api_key
from latchkey_service.first_start import make_derivation_key_file
from tests.support.latchkey_command import run_here
from tests.support.service import LATCHKEY, Pair, Service

SECRET = re.compile(r"sk_(?:live|test)_[0-9A-Za-z]{71}")


class FirstStart:
    """A service after its first ``latchkey init``, and the output of that command."""

    def __init__(self, directory: Path) -> None:
        self.service = Service(directory)
        self.printed = self.service.command("init").stdout
        self.key_file = Path(self.service.settings["LATCHKEY_DERIVATION_KEYS_FILE"])


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstStart]:
    """One first start, and the service that runs on its files."""
    made = FirstStart(tmp_path_factory.mktemp("first"))
    with made.service:
        yield made


def pairs(printed: str) -> list[Pair]:
    """The key pairs in the printed lines, in their order."""
    keys = re.findall(r"X-Api-Key: (ak_\w+)", printed)
    return [Pair(key, secret) for key, secret in zip(keys, SECRET.findall(printed), strict=True)]


def paste(lines: str, home: Path) -> list[str]:
    """Run lines in a real shell, like a user who pastes them; returns the status of each curl."""
    home.joinpath(".curlrc").write_text(
        'silent\nfail\noutput = /dev/null\nwrite-out = "%{http_code} "'
    )
    shell = subprocess.run(
        ["sh", "-eu"],
        input=lines,
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    return shell.stdout.split()


def refused(service: Service, command: str) -> str:
    """The line with which a command refuses to start."""
    run = run_here(service, command)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.count("\n") == 1
    return run.stderr.strip()


def test_the_key_file_is_private_and_not_in_the_databases_directory(first: FirstStart) -> None:
    assert first.key_file.stat().st_mode & 0o777 == 0o600
    assert first.key_file.parent.stat().st_mode & 0o777 == 0o700
    made = {path.name: path for path in first.key_file.parent.iterdir()}
    assert sorted(made) == ["audit.head", "audit.head.lock", "audit.key", "derivation.key"]
    assert {path.stat().st_mode & 0o777 for path in made.values()} == {0o600}
    assert first.key_file.parent != first.service.database.parent
    assert re.fullmatch(r"[0-9a-f]{64}\n", first.key_file.read_text())
    assert f"created the derivation key file {first.key_file}; keep it out" in first.printed


def test_it_creates_one_live_and_one_test_key(first: FirstStart) -> None:
    live, test = pairs(first.printed)
    assert live.api_secret.startswith("sk_live_")
    assert test.api_secret.startswith("sk_test_")
    for pair in (live, test):
        account = first.service.get("/v1/account", pair.bearer).json
        assert (account["api_key"], account["scopes"]) == (pair.api_key, ["*"])
        rows = first.service.get("/credentials", pair.headers).json["credentials"]
        assert [row["api_key"] for row in rows] == [pair.api_key]


def test_it_says_that_the_lines_need_the_running_service(first: FirstStart) -> None:
    assert "To try the keys, paste these lines when the service runs:\n" in first.printed


def test_the_printed_lines_can_be_pasted(first: FirstStart, tmp_path: Path) -> None:
    lines = [line for line in first.printed.splitlines() if line.startswith(("export", "curl"))]
    assert [line.split()[0] for line in lines] == ["export", "curl", "curl"] * 2
    assert paste("\n".join(lines), tmp_path) == ["200"] * 4
    # The shell's history contains the secret only in the export.
    assert all(bool(SECRET.search(line)) == line.startswith("export") for line in lines)


def test_the_exported_variables_are_not_settings(first: FirstStart) -> None:
    names = re.findall(r"^export (\w+)=", first.printed, re.MULTILINE)
    load_settings(dict.fromkeys(names, "anything"))


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """A path that is short enough for a socket, independent of the directory of the tests."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "latchkey.sock"


def test_the_lines_for_a_unix_socket_can_be_pasted(tmp_path: Path, socket_path: Path) -> None:
    service = Service(tmp_path, LATCHKEY_BIND=f"unix:{socket_path}", LATCHKEY_WORKERS="1")
    lines = [
        line
        for line in service.command("init").stdout.splitlines()
        if line.startswith(("export", "curl"))
    ]
    process = subprocess.Popen([LATCHKEY, "serve"], env=service.environment(), stderr=-3)
    try:
        retry = "--retry 30 --retry-all-errors --retry-delay 1"
        waiting = f"curl {retry} --unix-socket {socket_path} http://localhost/health"
        assert paste("\n".join([waiting, *lines]), tmp_path) == ["200"] * 5
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_a_second_start_prints_no_secret_and_changes_nothing(first: FirstStart) -> None:
    key = first.key_file.read_bytes()
    before = run_here(first.service, "keys", "list", "--json").stdout
    again = first.service.command("init")
    ready = f"ready: {first.service.settings['LATCHKEY_DATABASE_URL']}\n"
    # There is no administrator yet, so a new link replaces the first one.
    assert re.sub(r"\S+/console/set-up\?token=\S+", "LINK", again.stdout) == (
        f"{ready}The console has no administrator. To create one, open this link within an hour; "
        "it works once:\nLINK\n"
        "(LATCHKEY_PUBLIC_URL is not set: this is the address that the service listens on.)\n\n"
    )
    assert again.stderr == ""
    assert first.key_file.read_bytes() == key
    assert run_here(first.service, "keys", "list", "--json").stdout == before


def test_no_secret_is_logged(first: FirstStart) -> None:
    for pair in pairs(first.printed):
        assert first.service.get("/v1/account", pair.bearer).status == 200
    assert "active credentials" in first.service.log
    assert not SECRET.search(first.service.log)
    assert first.key_file.read_text().strip() not in first.service.log


def test_serve_alone_creates_the_database_but_prints_no_secret(tmp_path: Path) -> None:
    service = Service(tmp_path)
    settings = load_settings({**service.settings})
    assert make_derivation_key_file(settings) is not None
    service.database.parent.mkdir()
    service.database.touch(mode=0o600)
    with service:
        assert service.get("/ready").status == 200
    assert "0 active credentials" in service.log
    assert "sk_" not in service.log
    assert run_here(service, "keys", "list", "--json").stdout == '{"credentials": []}\n'


def test_an_instance_with_its_key_in_the_environment_gets_no_file(tmp_path: Path) -> None:
    service = Service(tmp_path, LATCHKEY_DERIVATION_KEYS="ab" * 32)
    del service.settings["LATCHKEY_DERIVATION_KEYS_FILE"]
    printed = service.command("init").stdout
    assert "derivation key file" not in printed
    assert len(pairs(printed)) == 2
    made = sorted(path.name for path in (tmp_path / "secrets").iterdir())
    assert made == ["audit.head", "audit.head.lock", "audit.key"]


@pytest.mark.parametrize("command", ["init", "serve"])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, command: str) -> None:
    service, key_file = with_key_file(tmp_path, "ab" * 32)
    key_file.chmod(0o644)
    assert refused(service, command) == (
        f"latchkey: the derivation key file {key_file} (LATCHKEY_DERIVATION_KEYS_FILE) has mode "
        f"0644, so every user can access it; make it private: chmod 600 {key_file}"
    )


@pytest.mark.parametrize("command", ["init", "serve"])
def test_a_malformed_key_file_is_refused(tmp_path: Path, command: str) -> None:
    service, key_file = with_key_file(tmp_path, "no key at all")
    assert refused(service, command) == (
        f"latchkey: the derivation key file {key_file} (LATCHKEY_DERIVATION_KEYS_FILE): "
        "a derivation key must have 64 hex digits"
    )
    assert key_file.read_text() == "no key at all"


def with_key_file(directory: Path, content: str) -> tuple[Service, Path]:
    service = Service(directory)
    key_file = Path(service.settings["LATCHKEY_DERIVATION_KEYS_FILE"])
    key_file.parent.mkdir()
    key_file.touch(mode=0o600)
    key_file.write_text(content)
    return service, key_file


@pytest.mark.parametrize("command", ["init", "serve"])
@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("place", ["data/derivation.key", "secrets/../data/derivation.key"])
def test_a_key_file_in_the_databases_directory_is_refused(
    tmp_path: Path, command: str, exists: bool, place: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "secrets").mkdir()
    service = Service(tmp_path, LATCHKEY_DERIVATION_KEYS_FILE=str(tmp_path / place))
    if exists:
        (tmp_path / place).touch(mode=0o600)
        (tmp_path / place).write_text("ab" * 32)
    assert refused(service, command).startswith("latchkey: LATCHKEY_DERIVATION_KEYS_FILE ")
    assert not service.database.exists()
    assert (tmp_path / place).exists() == exists


def test_an_unwritable_directory_is_reported_in_one_line(tmp_path: Path) -> None:
    service = Service(tmp_path, unprivileged=True)
    tmp_path.chmod(0o500)
    try:
        run = service.command("init", check=False)
    finally:
        tmp_path.chmod(0o700)
    key_file = service.settings["LATCHKEY_DERIVATION_KEYS_FILE"]
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == (
        f"latchkey: cannot create the derivation key file {key_file} "
        "(LATCHKEY_DERIVATION_KEYS_FILE): Permission denied\n"
    )


def test_two_first_starts_at_once(tmp_path: Path) -> None:
    service = Service(tmp_path)
    starts = [
        subprocess.Popen(
            [LATCHKEY, "init"], env=service.environment(), stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    printed = [start.communicate()[0] for start in starts]
    assert [start.returncode for start in starts] == [0, 0]
    # One of them created the file, both used it, and no draft remains.
    assert sum("created the derivation key file" in text for text in printed) == 1
    names = sorted(path.name for path in (tmp_path / "secrets").iterdir())
    assert names == ["audit.head", "audit.head.lock", "audit.key", "derivation.key"]
    made = [pair for text in printed for pair in pairs(text)]
    assert sorted(pair.api_key[:8] for pair in made) == ["ak_live_", "ak_test_"]
    with service:
        for pair in made:
            assert service.get("/v1/account", pair.bearer).status == 200
        assert "2 active credentials" in service.log


def test_derivation_keys_are_rotated_retired_and_removed(tmp_path: Path) -> None:
    old, new = "aa" * 32, "bb" * 32
    service = Service(tmp_path, LATCHKEY_DERIVATION_KEYS=old, LATCHKEY_WORKERS="1")
    del service.settings["LATCHKEY_DERIVATION_KEYS_FILE"]
    first, _ = pairs(service.command("init").stdout)
    by_old = [derived(old) for _ in range(3)]
    by_new = [derived(new) for _ in range(2)]

    # Rotated: the old key still works for everything.
    service.settings["LATCHKEY_DERIVATION_KEYS"] = f"{new},{old}"
    with service:
        assert register(service, by_old[0]) == 201
        assert register(service, by_new[0]) == 201
        assert service.get("/v1/account", first.bearer).status == 200
        issued = service.request("POST", "/v1/api_keys", first.bearer, json_body={"name": "new"})
        issued_pair = Pair(issued.json["api_key"], issued.json["api_secret"])
        assert issued_pair.api_secret == derived(new, issued_pair.api_key).api_secret
        assert "keys are not listed" not in service.log

    # Retired: existing pairs keep working, but no more can be registered.
    service.settings["LATCHKEY_DERIVATION_KEYS"] = new
    service.settings["LATCHKEY_DERIVATION_KEYS_RETIRED"] = old
    with service:
        for pair in (first, by_old[0], by_new[0], issued_pair):
            assert service.get("/v1/account", pair.bearer).status == 200
        assert register(service, by_old[1]) == 403
        assert register(service, by_new[1]) == 201
        path = f"/credentials/{by_old[0].api_key}"
        assert service.request("DELETE", path, first.headers).status == 200
        assert "keys are not listed" not in service.log

    # Removed: its pairs are refused, and the log of the start has their number.
    del service.settings["LATCHKEY_DERIVATION_KEYS_RETIRED"]
    service.log_path.unlink()
    with service:
        assert service.get("/v1/account", first.bearer).code == "invalid_api_key"
        assert service.get("/v1/account", by_old[0].bearer).code == "invalid_api_key"
        assert register(service, by_old[2]) == 403
        assert service.get("/v1/account", by_new[0].bearer).status == 200
    assert "the service refuses 2 active credentials, because their" in service.log
    assert "3 active credentials\n" in service.log


def derived(key: str, api_key: str | None = None) -> Pair:
    """The pair that a vendor derives with a derivation key in hex."""
    api_key = api_key or new_api_key("live")
    return Pair(api_key, DerivationKey(bytes.fromhex(key)).derive(api_key))


def register(service: Service, pair: Pair) -> int:
    body = {"api_key": pair.api_key, "api_secret": pair.api_secret}
    return service.request("POST", "/credentials", json_body=body).status


def test_no_module_is_loaded_from_the_working_directory(tmp_path: Path) -> None:
    """A user's application is often called app.py, and the directory may be writable for others."""
    service = Service(tmp_path)
    for name in ("app.py", "json.py", "sqlite3.py"):
        (tmp_path / name).write_text("raise SystemExit('loaded from the working directory')\n")
    # A new process: a forked one would not import anything.
    service.prefix = ["env"]
    made = service.command("init")
    assert "export LIVE_API_SECRET=sk_live_" in made.stdout
    with service:
        assert service.get("/ready").status == 200
