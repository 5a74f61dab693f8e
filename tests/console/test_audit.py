"""The audit log in the console: list, filters, export, verification, and hostile rows."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from html import unescape

import pytest

from tests.support.console.visitor import Visitor
from tests.support.latchkey_command import run_here
from tests.support.service import Pair, Service

AUDIT = "/console/audit/"


@pytest.fixture(scope="module")
def revoked(console: Service, ada: Visitor) -> Pair:
    """A key that a client created and ada revoked."""
    pair = console.issue(name="audited")
    path = f"/console/keys/{pair.api_key}/revoke"
    assert ada.post(path, ada.get(path).fields("")).status == 303
    return pair


def rows(text: str) -> list[str]:
    """The rows of a table, as text."""
    body = text.partition("<tbody")[2].partition("</tbody>")[0]
    return [
        re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", row)).strip()
        for row in re.findall(r"<tr.*?</tr>", body, re.S)
    ]


def test_the_rows_about_a_key(ada: Visitor, revoked: Pair) -> None:
    page = ada.get(f"{AUDIT}?key={revoked.api_key}")
    assert page.status == 200
    last, first = rows(page.text)
    assert "key.revoke ada administrator 127.0.0.1" in last
    assert "key.issue" in first
    assert revoked.api_key in first
    # The page of the key has the same rows.
    key = ada.get(f"/console/keys/{revoked.api_key}").text
    assert "key.revoke" in key
    assert f"{AUDIT}?key={revoked.api_key}" in key


def test_filters(ada: Visitor, revoked: Pair) -> None:
    by_ada = rows(ada.get(f"{AUDIT}?actor=ada").text)
    assert by_ada
    assert all("ada administrator" in row for row in by_ada)
    issued = rows(ada.get(f"{AUDIT}?action=key.issue").text)
    assert issued
    assert all("key.issue" in row for row in issued)
    assert "No matching entries" in ada.get(f"{AUDIT}?key=nobody").text
    for nonsense in ("?action=x", "?before=x", "?before=" + "9" * 19, "?before=-1"):
        assert ada.get(AUDIT + nonsense).status == 200


def test_details_break_after_commas(console: Service, ada: Visitor) -> None:
    """The copied text is the stored one, without additional characters."""
    name = '<wbr>, "5, 6"'
    issued = console.issue(name=name, scopes=["account:read", "credentials:read"])
    cells = re.findall(
        r'class="detail"><div><code>(.*?)</code>', ada.get(f"{AUDIT}?key={issued.api_key}").text
    )
    assert len(cells) == 1
    parts = [unescape(part) for part in cells[0].split("<wbr>")]
    assert all(part.endswith(",") for part in parts[:-1])
    assert not any("," in part[:-1] for part in parts)
    assert json.loads("".join(parts))["name"] == name


def test_older_rows_are_on_the_next_pages(console: Service, ada: Visitor) -> None:
    for number in range(51):
        console.issue(name=f"row {number}")
    first = ada.get(f"{AUDIT}?action=key.issue")
    (older,) = re.findall(r'rel="next" href="([^"]+)"', first.text)
    second = ada.get(AUDIT + older.replace("&amp;", "&"))
    numbers = [int(row.split()[0]) for row in rows(first.text) + rows(second.text)]
    assert numbers == sorted(set(numbers), reverse=True)
    assert len(rows(first.text)) == 50


def test_the_export_has_json_lines(ada: Visitor, revoked: Pair) -> None:
    page = ada.get(f"{AUDIT}export?key={revoked.api_key}")
    assert page.status == 200
    assert page.headers["Content-Type"] == "application/jsonl"
    assert "attachment" in page.headers["Content-Disposition"]
    entries = [json.loads(line) for line in page.text.splitlines()]
    assert [entry["action"] for entry in entries] == ["key.issue", "key.revoke"]
    everything = ada.get(f"{AUDIT}export").text.splitlines()
    numbers = [json.loads(line)["number"] for line in everything]
    assert numbers == list(range(1, len(numbers) + 1))


def test_verification_finds_a_changed_row(console: Service, ada: Visitor, revoked: Pair) -> None:
    def verify() -> str:
        fields = ada.get(AUDIT).fields(f"{AUDIT}verify")
        answer = ada.post(f"{AUDIT}verify", fields)
        assert answer.status == 200
        return answer.text

    assert "The log is intact" in verify()
    with closing(sqlite3.connect(console.database)) as connection, connection:
        row = (revoked.api_key, "key.issue")
        (number,) = connection.execute(
            "SELECT number FROM audit WHERE subject = ? AND action = ?", row
        ).fetchone()
        update = "UPDATE audit SET detail = ? WHERE number = ?"
        (before,) = connection.execute(
            "SELECT detail FROM audit WHERE number = ?", (number,)
        ).fetchone()
        connection.execute(update, ("<script>alert(1)</script>", number))
    found = verify()
    assert f"row {number}: the detail does not match its digest" in found
    assert "The log is intact" not in found
    shown = ada.get(f"{AUDIT}?key={revoked.api_key}").text
    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert" in shown
    with closing(sqlite3.connect(console.database)) as connection, connection:
        connection.execute(update, (before, number))
    assert "The log is intact" in verify()


def test_the_rows_about_a_key_start_with_its_creation(console: Service, ada: Visitor) -> None:
    """In all filters by key: also the rotation that created a successor, and the import."""
    first = console.issue(name="replaced")
    issuer = console.issue(name="rotating")
    rotated = console.request("POST", f"/v1/api_keys/{first.api_key}/rotate", issuer.bearer)
    successor = rotated.json["api_key"]
    file = console.directory / "theirs.jsonl"
    lines = ({"name": "theirs", "sha256": f"{number:064x}"} for number in range(1, 3))
    file.write_text("\n".join(map(json.dumps, lines)))
    made = json.loads(run_here(console, "keys", "import", str(file), "--json").stdout)
    for api_key, action, about in (
        (successor, "key.rotate", first.api_key),
        (made["api_keys"][1], "key.import", None),
    ):
        (row,) = rows(ada.get(f"{AUDIT}?key={api_key}").text)
        assert action in row
        assert action in ada.get(f"/console/keys/{api_key}").text
        (line,) = ada.get(f"{AUDIT}export?key={api_key}").text.splitlines()
        exported = json.loads(line)
        assert (exported["action"], exported["subject"]) == (action, about)
        listed = json.loads(run_here(console, "audit", "list", "--key", api_key, "--json").stdout)
        assert listed["entries"] == [exported]
    assert run_here(console, "audit", "verify").returncode == 0
