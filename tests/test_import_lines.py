"""The lines of an import and of an export: accounts, invalid lines, every key."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.support.api.contract import INVALID
from tests.support.importing import import_lines, imported, run_import, sha, use
from tests.support.latchkey_command import run_here
from tests.support.service import Service


@pytest.fixture(scope="module")
def box(running_box: Service) -> Service:
    """A service with two workers, which runs during the imports."""
    return running_box


# ---- Accounts


def new_account(box: Service, external_id: str) -> str:
    """Create an account; returns its id."""
    options = ["--name", "theirs", "--external-id", external_id, "--json"]
    return str(json.loads(run_here(box, "accounts", "create", *options).stdout)["id"])


def test_a_line_names_the_account_of_its_key(box: Service, tmp_path: Path) -> None:
    account = new_account(box, "+49/named")
    for number, name in enumerate([{"account": account}, {"external_id": "+49/named"}]):
        token = f"account-{number}"
        imported(box, token, scopes=["account:read"], **name)
        assert use(box, token).json["id"] == account
    file = tmp_path / "keys.csv"
    file.write_text(
        "name,sha256,scopes,external_id\n"
        f"a,{sha('account-csv')},account:read,'+49/named\n"
        f"b,{sha('instance-csv')},,\n"
    )
    assert run_import(box, file)["imported"] == 2
    assert use(box, "account-csv").json["id"] == account
    instance = use(box, "instance-csv").json
    assert (instance["id"], instance["scopes"]) == (
        box.get("/v1/account", box.create_key().bearer).json["id"],
        ["*"],
    )
    run_here(box, "accounts", "disable", account)
    assert {use(box, "account-csv").code for _ in range(8)} == {"key_disabled"}
    imported(box, "account-disabled", scopes=["account:read"], account=account)
    assert use(box, "account-disabled").code == "key_disabled"


def test_lines_whose_account_or_scopes_are_invalid(box: Service) -> None:
    account = new_account(box, "invalid-lines")
    nobody = f"acct_{'0' * 22}"
    secret = box.derive_pair().api_secret
    good = {"name": "x", "scopes": ["orders:read"]}
    said = import_lines(
        box,
        {**good, "sha256": sha("a0"), "account": account},
        {**good, "sha256": sha("a1"), "account": account, "external_id": "invalid-lines"},
        {**good, "sha256": sha("a2"), "account": nobody},
        {**good, "sha256": sha("a3"), "external_id": "nobody"},
        {**good, "sha256": sha("a4"), "account": secret},
        {**good, "sha256": sha("a5"), "external_id": f"{secret} "},
        {**good, "sha256": sha("a6"), "external_id": 7},
        {"name": "x", "sha256": sha("a7"), "account": account},
        {**good, "sha256": sha("a8"), "account": account, "scopes": ["accounts:read"]},
        check=False,
    )
    refused = said["refused"]
    assert isinstance(refused, list)
    assert [(one["line"], one["reason"]) for one in refused] == [
        (2, "account: give account or external_id, not both"),
        (3, "account: no such account"),
        (4, "external_id: no such account"),
        (5, "account: must be the id of an account, acct_ and 22 characters"),
        (6, "external_id: must be 1 to 255 visible ASCII characters without spaces"),
        (7, "external_id: must be 1 to 255 visible ASCII characters without spaces"),
        (8, "scopes: name the scopes of a key whose account you name"),
        (9, "scopes: accounts:read is only for keys of the instance account"),
    ]
    INVALID.check(use(box, "a0"), "bearer", bearer=True)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_export_is_imported_into_another_instance(
    box: Service, tmp_path: Path, form: str
) -> None:
    """With the hashes, which an export does not have, and by the external ids."""
    external_id = f"=round-{form}"
    account = new_account(box, external_id)
    there = imported(box, f"there-{form}", scopes=["orders:read"], account=account)
    file = tmp_path / "keys"
    assert run_here(box, "keys", "export", str(file), "--format", form).returncode == 0
    rows = (
        list(csv.DictReader(file.read_text().splitlines()))
        if form == "csv"
        else [json.loads(line) for line in file.read_text().splitlines()]
    )
    (row,) = [row for row in rows if row["api_key"] == there]
    assert row["account"] == account
    taken = {name: row[name] for name in ("name", "mode", "scopes", "external_id")}
    taken["sha256"] = sha(f"there-{form}")
    if form == "csv":
        with file.open("w", newline="") as opened:
            writer = csv.DictWriter(opened, list(taken))
            writer.writeheader()
            writer.writerow(taken)
    else:
        file.write_text(json.dumps(taken))
    other = Service(tmp_path / "other")
    other.initialize()
    assert run_import(other, file, check=False)["imported"] == 0
    again = new_account(other, external_id)
    assert again != account
    assert run_import(other, file)["imported"] == 1
    (key,) = json.loads(run_here(other, "keys", "list", "--account", again, "--json").stdout)[
        "credentials"
    ]
    assert (key["external_id"], key["scopes"]) == (external_id, ["orders:read"])


# ---- Refused imports


def test_all_or_nothing_with_a_reason_for_each_line(box: Service) -> None:
    imported(box, "there-already")
    before = run_here(box, "keys", "list", "--json").stdout
    secret = box.derive_pair().api_secret
    said = import_lines(
        box,
        {"name": "good", "sha256": sha("good")},
        {"name": "bad hex", "sha256": "plain-token-in-place-of-its-hash"},
        {"name": "short", "sha256": "ab" * 31},
        {"name": "again", "sha256": sha("good").upper()},
        {"name": "there", "sha256": sha("there-already")},
        {"name": "scope", "sha256": sha("1"), "scopes": ["everything"]},
        {"name": "scopes", "sha256": sha("2"), "scopes": []},
        {"name": "mode", "sha256": sha("3"), "mode": "prod"},
        {"name": "past", "sha256": sha("4"), "expires_at": "2020-01-01T00:00:00Z"},
        {"name": "", "sha256": sha("5")},
        {"sha256": sha("6")},
        {"name": "no hash"},
        {"name": "more", "sha256": sha("7"), "token": "in-plain"},
        "no json",
        "[1]",
        {"name": f"x {secret}", "sha256": sha("8")},
        {"name": "network", "sha256": sha("9"), "networks": ["10.0.0.0/8", secret]},
        {"name": "endpoint", "sha256": sha("10"), "endpoints": [f"GET {secret}"]},
        {"name": "metadata", "sha256": sha("11"), "metadata": {"key": secret}},
        check=False,
    )
    refused = said["refused"]
    assert said["imported"] == 0
    assert isinstance(refused, list)
    reasons = {one["line"]: one["reason"] for one in refused}
    assert sorted(reasons) == list(range(2, 20))
    assert reasons[2] == reasons[3] == "sha256: must be the SHA-256 of the token, 64 hex digits"
    assert reasons[4] == "repeats the SHA-256 of line 1"
    assert reasons[5] == "a key with this SHA-256 already exists"
    assert reasons[6].startswith("scopes: a scope is")
    assert reasons[9] == "expires_at: must lie in the future"
    assert reasons[17].startswith("networks.1: not a network")
    assert reasons[18].startswith("endpoints.0: write a method and a path")
    assert reasons[19] == "metadata: contains what looks like an API secret"
    assert reasons[14] == reasons[15] == "not a JSON object"
    for value in ("plain-token", "in-plain", "everything", "prod", secret):
        assert value not in json.dumps(refused)
    assert run_here(box, "keys", "list", "--json").stdout == before
    INVALID.check(use(box, "good"), "bearer", bearer=True)


def test_lines_of_json_end_only_where_json_says(box: Service, tmp_path: Path) -> None:
    # U+2028 and U+0085 are valid in JSON strings, but not in names, which the message reports.
    file = tmp_path / "keys.jsonl"
    lines = [
        {"name": "a", "sha256": sha("line 1")},
        {"name": "b\u2028c", "sha256": sha("line 2")},
        {"name": "d\x85e", "sha256": sha("line 3")},
    ]
    texts = [json.dumps(line, ensure_ascii=False) for line in lines]
    twice = f'{{"name": "f", "sha256": "{sha("line 5")}", "scopes": ["*:read"], "scopes": ["*"]}}'
    file.write_bytes("\r\n".join([*texts, "", twice, "[NaN]"]).encode())
    refused = run_import(box, file, check=False)["refused"]
    assert isinstance(refused, list)
    reasons = {one["line"]: one["reason"] for one in refused}
    assert reasons.keys() == {2, 3, 5, 6}
    assert reasons[2].startswith("name: ")
    assert reasons[3].startswith("name: ")
    assert reasons[5] == "scopes: is given twice"
    assert reasons[6] == "not a JSON object"
    file.write_bytes(texts[0].encode() + b"\r\n\r\n")
    assert run_import(box, file)["imported"] == 1
    # Readers of JSON differ in which of two values they use.
    file.write_text(twice)
    assert run_import(box, file, check=False)["imported"] == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file contains no keys"),
        (b"name,sha256\n", "the file contains no keys"),
        (b"\xff\xfe", "the file is not UTF-8"),
        (b"name,hash\na,b\n", "the first line must name the columns: name and sha256 are required"),
        (b"name,sha256,name\na,b,c\n", "the first line must name the columns"),
        (b"name,sha256\na,b,c\n", "has 3 columns instead of 2"),
        (b'name,sha256\n"a"b,c\n', "not valid CSV"),
    ],
)
def test_a_file_that_cannot_be_read(
    box: Service, tmp_path: Path, content: bytes, reason: str
) -> None:
    file = tmp_path / "keys"
    file.write_bytes(content)
    said = run_import(box, file, check=False)
    refused = said["refused"]
    assert isinstance(refused, list)
    assert refused[0]["reason"].startswith(reason)


def test_the_report_for_people(box: Service, tmp_path: Path) -> None:
    file = tmp_path / "keys.csv"
    file.write_text("name,sha256\n" + "a,b\n" * 120)
    done = run_here(box, "keys", "import", str(file))
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[-1] == "nothing was imported: 120 invalid lines"
    assert lines[-2] == "and 20 more; --json lists all"
    file.write_text(f"name,sha256\na,{sha('for people')}\n")
    assert run_here(box, "keys", "import", str(file)).stdout == "imported 1 key\n"


# ---- Export


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_export_has_every_key_and_no_secret_or_hash(box: Service, form: str) -> None:
    token = f"exported-{form}"
    api_key = imported(box, token, scopes=["account:read", "credentials:read"])
    formula = box.create_key(name="=1+1")
    file = box.directory / f"export.{form}"
    done = run_here(box, "keys", "export", str(file), "--format", form)
    assert (done.returncode, done.stdout) == (0, "")
    text = file.read_text()
    rows = (
        list(csv.DictReader(text.splitlines()))
        if form == "csv"
        else [json.loads(line) for line in text.splitlines()]
    )
    listed = json.loads(run_here(box, "keys", "list", "--json").stdout)["credentials"]
    assert [row["api_key"] for row in rows] == [row["api_key"] for row in listed]
    by_key = {row["api_key"]: row for row in rows}
    theirs, ours = by_key[api_key], by_key[formula.api_key]
    assert (theirs["origin"], ours["origin"]) == ("imported", "derived")
    assert [row["origin"] for row in listed] == [row["origin"] for row in rows]
    both = ["account:read", "credentials:read"]
    assert theirs["scopes"] == (" ".join(both) if form == "csv" else both)
    assert ours["name"] == ("'=1+1" if form == "csv" else "=1+1")
    for secret in (token, sha(token), formula.api_secret, sha(formula.api_secret)):
        assert secret not in text
    assert run_here(box, "keys", "export", "--format", form).stdout == text
    for row in (theirs, ours):
        shown = box.get(f"/v1/api_keys/{row['api_key']}", formula.bearer).json
        assert shown["origin"] == row["origin"]
