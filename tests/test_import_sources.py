"""Imports from standard input, repeated imports, and hashes that belong to no token."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import listed
from tests.support.latchkey_command import run_here
from tests.support.service import Service


def sha(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()


def csv_of(*tokens: str) -> str:
    return "\r\n".join(["name,sha256", *(f"n,{sha(token.encode()).upper()}" for token in tokens)])


def take(box: Service, text: str, *options: str) -> Any:
    """Import a text from standard input; the command must succeed."""
    run = run_here(box, "keys", "import", "-", "--json", *options, standard_input=text)
    assert run.returncode == 0, run.stdout
    return json.loads(run.stdout)


def reasons(box: Service, text: str, *options: str) -> list[tuple[int, str]]:
    run = run_here(box, "keys", "import", "-", "--json", *options, standard_input=text)
    assert run.returncode == 1
    said = json.loads(run.stdout)
    assert said["imported"] == 0
    return [(one["line"], one["reason"]) for one in said["refused"]]


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_standard_input(box: Service, start: str) -> None:
    before = len(listed(box))
    assert take(box, start + csv_of(f"input 1 {start}"))["imported"] == 1
    line = json.dumps({"name": "n", "sha256": sha(f"input 2 {start}".encode())})
    assert take(box, f"{start}{line}\r\n")["imported"] == 1
    assert len(listed(box)) == before + 2
    assert reasons(box, "") == [(1, "the file contains no keys")]


def test_existing_tokens_are_skipped(box: Service, tmp_path: Path) -> None:
    take(box, csv_of("skip 1", "skip 2"))
    again = csv_of("skip 1", "skip 2", "skip 3")
    there = "a key with this SHA-256 already exists"
    assert reasons(box, again) == [(2, there), (3, there)]
    before = listed(box)
    said = take(box, again, "--skip-existing")
    assert (said["imported"], said["skipped"], len(said["api_keys"])) == (1, 2, 1)
    assert listed(box)[1:] == before
    audited = json.loads(run_here(box, "audit", "list", "--limit", "1", "--json").stdout)
    assert json.loads(audited["entries"][0]["detail"])["count"] == 1
    # The second time, nothing is left to import, and no row is added.
    said = take(box, again, "--skip-existing")
    assert (said["imported"], said["skipped"], said["api_keys"]) == (0, 3, [])
    assert json.loads(run_here(box, "audit", "list", "--limit", "1", "--json").stdout) == audited
    file = tmp_path / "again.csv"
    file.write_text(csv_of("skip 1"))
    assert run_here(box, "keys", "import", str(file), "--skip-existing").stdout == (
        "imported 0 keys\nskipped 1 key imported before\n"
    )


def test_skipping_does_not_hide_other_errors(box: Service) -> None:
    take(box, csv_of("once"))
    text = csv_of("once", "twice", "twice") + "\r\nn,short\r\n"
    assert reasons(box, text, "--skip-existing") == [
        (4, "repeats the SHA-256 of line 3"),
        (5, "sha256: must be the SHA-256 of the token, 64 hex digits"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\n", b"\r\n", b"\r", b" ", b"\t", b"\0", b"\xef\xbb\xbf", b'""', b"''"),
        *(b"null", b"null\n", b"None", b"undefined", b"0", b"-", b"N/A", b"true\n"),
    ],
)
@pytest.mark.parametrize("upper", [False, True])
def test_a_hash_that_belongs_to_no_token(box: Service, content: bytes, upper: bool) -> None:
    digest = sha(content).upper() if upper else sha(content)
    for options in ([], ["--skip-existing"]):
        ((line, reason),) = reasons(box, f"name,sha256\nn,{digest}\n", *options)
        assert line == 2
        assert reason.startswith("sha256: is the hash of ")
        assert reason.endswith(", not of a token")


@pytest.mark.parametrize("digest", ["0" * 64, "f" * 64, "F" * 64])
def test_a_placeholder_is_not_a_hash(box: Service, digest: str) -> None:
    ((_, reason),) = reasons(box, json.dumps({"name": "n", "sha256": digest}))
    assert reason == "sha256: is the hash of nothing (a placeholder), not of a token"
