"""latchkey vendor: key pairs and instance keys, as a vendor derives them."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import zlib
from pathlib import Path

import pytest

from tests.support.command_line import at_terminal, fails, listed, one_line
from tests.support.latchkey_command import run_here
from tests.support.service import LATCHKEY, Service

MASTER = bytes(range(100, 164))
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def base62(text: str) -> int:
    number = 0
    for character in text:
        number = number * 62 + DIGITS.index(character)
    return number


@pytest.mark.parametrize("mode", ["live", "test"])
def test_vendor_generate_derives_a_pair_and_stores_nothing(box: Service, mode: str) -> None:
    before = listed(box)
    run = run_here(box, "vendor", "generate", "--mode", mode, "--json")
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


def test_vendor_generate_for_a_person(box: Service) -> None:
    lines = run_here(box, "vendor", "generate").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["api_key", "api_secret"]
    assert lines[0].split()[1][:8] == "ak_live_"


def test_vendor_generate_does_not_use_a_database(tmp_path: Path) -> None:
    vendor = Service(tmp_path, LATCHKEY_DERIVATION_KEYS="ab" * 32)
    del vendor.settings["LATCHKEY_DERIVATION_KEYS_FILE"]
    vendor.command("vendor", "generate")
    assert list(tmp_path.iterdir()) == []


def hkdf(master: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, an empty salt and one block of output."""
    extracted = hmac.digest(bytes(32), master, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


@pytest.mark.parametrize("name", ["eu-1", "Zürich", "a name with spaces"])
def test_vendor_instance_key(box: Service, tmp_path: Path, name: str) -> None:
    expected = hkdf(MASTER, b"latchkey.v1.instance:" + name.encode()).hex()
    master = tmp_path / "master.key"
    master.write_text(f"{MASTER.hex()}\n")
    command = ["vendor", "instance-key", "--name", name]
    run = run_here(box, *command, "--master-key-file", str(master))
    assert run.stdout == f"{expected}\n"
    run = run_here(box, *command, "--master-key-file", str(master), "--json")
    assert json.loads(run.stdout) == {"name": name, "derivation_key": expected}


def test_vendor_instance_key_from_standard_input(box: Service) -> None:
    run = subprocess.run(
        [LATCHKEY, "vendor", "instance-key", "--name", "eu-1", "--master-key-file", "-"],
        env=box.environment(),
        input=MASTER.hex(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == f"{hkdf(MASTER, b'latchkey.v1.instance:eu-1').hex()}\n"


def test_vendor_instance_key_asks_without_showing_what_is_typed(box: Service) -> None:
    command = ["vendor", "instance-key", "--name", "eu-1"]
    typed = f"{MASTER.hex()}\n"
    status, screen = at_terminal(box, *command, prompt="Master key (hex)", typed=typed, hidden=True)
    assert status == 0
    assert MASTER.hex() not in screen
    assert screen.endswith(f"{hkdf(MASTER, b'latchkey.v1.instance:eu-1').hex()}\r\n")


@pytest.mark.parametrize("content", [b"", b"abcd", b"z" * 64, bytes(range(200, 256)), b"ab" * 31])
def test_vendor_instance_key_refuses_a_bad_master_key(
    box: Service, tmp_path: Path, content: bytes
) -> None:
    master = tmp_path / "master.key"
    master.write_bytes(content)
    command = ["vendor", "instance-key", "--name", "x", "--master-key-file", str(master)]
    line = one_line(fails(box, *command))
    assert line == "Error: the master key must be at least 64 hex digits"


def test_the_former_name_still_works_but_is_not_listed(box: Service, tmp_path: Path) -> None:
    master = tmp_path / "master.key"
    master.write_text(MASTER.hex())
    command = ["instance-key", "--name", "x", "--master-key-file", str(master)]
    former = run_here(box, "console", *command)
    assert former.stdout == run_here(box, "vendor", *command).stdout != ""
    assert json.loads(run_here(box, "console", "generate", "--json").stdout)["api_secret"]
    assert "console" not in [line.split()[0] for line in _commands(box)]
    assert "vendor" in [line.split()[0] for line in _commands(box)]


def _commands(box: Service) -> list[str]:
    return run_here(box, "--help").stdout.partition("Commands:\n")[2].splitlines()
