"""Keys of another system: imported all or none, and then used as bearer tokens."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from latchkey.credentials.derivation import DerivationKey
from latchkey.credentials.tokens import new_api_key
from tests.support.api.contract import EXPIRED, INVALID, REVOKED
from tests.support.latchkey_command import run_here
from tests.support.service import Answer, Pair, Service

COUNT = 100_000


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with two workers, which runs during the imports."""
    directory = tmp_path_factory.mktemp("import")
    with Service(directory, LATCHKEY_FAILURE_LIMIT="off") as running:
        yield running


def sha(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def import_lines(box: Service, *lines: object, check: bool = True) -> dict[str, object]:
    """Import JSON lines; returns the output of the command."""
    file = box.directory / "keys.jsonl"
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    file.write_text("\n".join(texts) + "\n")
    return run_import(box, file, check)


def run_import(box: Service, file: Path, check: bool = True) -> dict[str, object]:
    done = run_here(box, "keys", "import", str(file), "--json")
    assert (done.returncode == 0) is check, done.stderr
    said: dict[str, object] = json.loads(done.stdout)
    return said


def use(box: Service, token: str, path: str = "/v1/account") -> Answer:
    return box.get(path, {"Authorization": f"Bearer {token}"})


def imported(box: Service, token: str, **terms: object) -> str:
    said = import_lines(box, {"name": "theirs", "sha256": sha(token), **terms})
    made = said["api_keys"]
    assert isinstance(made, list)
    return str(made[0])


# ---- Successful imports


@pytest.mark.parametrize(
    "token",
    [
        "t",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "!#$%&'()*+-./:;<=>?@[]^_`{|}~\"\\",
        "x" * 512,
        # A token with the form of our secrets, but not their checksum.
        "sk_live_" + "0" * 71,
        "sk_test_" + "z" * 71,
        "sk_live_short",
    ],
)
def test_an_imported_token_works_immediately_in_every_worker(box: Service, token: str) -> None:
    for _ in range(4):
        INVALID.check(use(box, token), "bearer", bearer=True)
    api_key = imported(box, token, scopes=["account:read"])
    assert api_key.startswith("ak_live_")
    for _ in range(8):
        answer = use(box, token)
        assert (answer.status, answer.json["api_key"]) == (200, api_key)
    assert answer.json["name"] == "theirs"
    assert use(box, token, "/credentials").status == 403


def test_terms(box: Service) -> None:
    import_lines(
        box,
        {"name": "a", "sha256": sha("terms-1").upper(), "mode": "test"},
        "",
        {"name": "b", "sha256": sha("terms-2"), "expires_at": "2040-01-01T00:00:00+01:00"},
    )
    assert use(box, "terms-1").json["mode"] == "test"
    assert use(box, "terms-1").json["scopes"] == ["*"]
    listed = json.loads(run_here(box, "keys", "list", "--limit", "2", "--json").stdout)
    second, first = listed["credentials"]
    assert (first["name"], first["mode"], first["expires_at"]) == ("a", "test", None)
    assert second["expires_at"] == "2039-12-31T23:00:00.000Z"


def test_csv(box: Service, tmp_path: Path) -> None:
    file = tmp_path / "keys.csv"
    file.write_bytes(
        b"\xef\xbb\xbfsha256,name,scopes,mode,expires_at\r\n"
        + f'{sha("csv-1")},"billing, old",account:read credentials:read,,\r\n\r\n'.encode()
        + f"{sha('csv-2')},ü,,test,2040-01-01T00:00:00Z\r\n".encode()
    )
    assert run_import(box, file)["imported"] == 2
    said = use(box, "csv-1").json
    assert (said["name"], said["scopes"]) == ("billing, old", ["account:read", "credentials:read"])
    assert (use(box, "csv-2").json["name"], use(box, "csv-2").json["mode"]) == ("ü", "test")


def test_an_imported_key_is_changed_counted_and_revoked_by_its_api_key(box: Service) -> None:
    live = box.create_key()
    api_key = imported(box, "whole-life", scopes=["account:read"])
    path = f"/v1/api_keys/{api_key}"
    for _ in range(6):
        assert use(box, "whole-life").status == 200
    assert box.get(f"{path}/usage", live.bearer).json["requests"] == 6
    box.request("PATCH", path, live.bearer, json_body={"scopes": ["credentials:read"]})
    assert {use(box, "whole-life").status for _ in range(8)} == {403}
    box.request("PATCH", path, live.bearer, json_body={"scopes": ["account:read"]})
    made = box.request("POST", f"{path}/rotate", live.bearer, json_body={"overlap_seconds": 60})
    successor = Pair(made.json["api_key"], made.json["api_secret"])
    assert box.get("/v1/account", successor.headers).status == 200
    assert {use(box, "whole-life").status for _ in range(8)} == {200}
    assert box.request("DELETE", path, live.bearer).status == 200
    for _ in range(8):
        REVOKED.check(use(box, "whole-life"), "bearer", bearer=True)
    assert box.request("DELETE", path, live.bearer).status == 404
    assert box.get("/v1/account", successor.bearer).status == 200


def test_it_expires_to_the_second(box: Service) -> None:
    live = box.create_key()
    api_key = imported(box, "ends")
    for _ in range(4):
        assert use(box, "ends").status == 200
    path = f"/v1/api_keys/{api_key}/rotate"
    box.request("POST", path, live.bearer, json_body={"overlap_seconds": 0})
    for _ in range(8):
        EXPIRED.check(use(box, "ends"), "bearer", bearer=True)


def test_a_derived_secret_is_never_looked_up_as_an_imported_token(box: Service) -> None:
    """Even if its hash was imported: a derived secret that is not registered stays invalid."""
    ours = box.derive_pair()
    forged = DerivationKey(b"\xee" * 32).derive(new_api_key("live"))
    for secret in (ours.api_secret, forged):
        imported(box, secret)
        for _ in range(4):
            INVALID.check(use(box, secret), "bearer", bearer=True)


def test_only_a_bearer_is_looked_up(box: Service) -> None:
    token = "sk_live_" + "1" * 71
    api_key = imported(box, token)
    assert use(box, token).status == 200
    for key in (api_key, f"ak_live_{'1' * 22}"):
        assert box.get("/v1/account", {"X-Api-Key": key, "X-Api-Secret": token}).status == 401


@pytest.mark.parametrize("token", ["x" * 513, "caf\xe9", "tab\tbed", "two words", "del\x7f"])
def test_text_that_cannot_be_a_token(box: Service, token: str) -> None:
    imported(box, token)
    assert use(box, token).status in (400, 401)


def test_foreign_tokens_cause_no_database_access(box: Service) -> None:
    """No SELECT at all if no key was imported; otherwise almost none."""
    imported(box, "one of few")
    before = box.metric("latchkey_lookups_total", result="select")
    for number in range(300):
        INVALID.check(use(box, f"stranger-{number}"), "bearer", bearer=True)
    assert box.metric("latchkey_lookups_total", result="select") - before <= 3


def test_imports_while_no_service_runs_and_after_a_restart(box: Service) -> None:
    imported(box, "before-the-restart")
    box.stop()
    imported(box, "while-it-was-stopped")
    box.start()
    for token in ("before-the-restart", "while-it-was-stopped"):
        assert {use(box, token).status for _ in range(4)} == {200}


def test_a_single_worker_without_shared_memory_knows_them_too(tmp_path: Path) -> None:
    box = Service(tmp_path, LATCHKEY_WORKERS="1", LATCHKEY_SHARED_MEMORY=str(tmp_path / "none"))
    box.initialize()
    imported(box, "alone")
    with box:
        assert use(box, "alone").status == 200
        assert use(box, "stranger").status == 401


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_conditions_are_imported_as_they_are_exported(
    box: Service, tmp_path: Path, form: str
) -> None:
    fields = {
        "enabled": False,
        "not_before": "2035-01-15T00:00:00.000Z",
        "networks": ["192.0.2.0/24", "2001:db8::/32"],
        "networks_mode": "observe",
        "endpoints": ["GET /orders/**", "POST /orders"],
        "metadata": {"team": "a, b"},
    }
    source, target = f"conditions {form}", f"conditions again {form}"
    import_lines(box, {"name": source, "sha256": sha(source), **fields})
    file = tmp_path / "keys"
    assert run_here(box, "keys", "export", str(file), "--format", form).returncode == 0
    if form == "csv":
        with file.open(newline="") as opened:
            (row,) = [row for row in csv.DictReader(opened) if row["name"] == source]
        again = {name: row[name] for name in fields}
        with file.open("w", newline="") as opened:
            writer = csv.DictWriter(opened, ["name", "sha256", *fields])
            writer.writeheader()
            writer.writerow({"name": target, "sha256": sha(target), **again})
    else:
        (line,) = [
            one for one in map(json.loads, file.read_text().splitlines()) if one["name"] == source
        ]
        again = {name: line[name] for name in fields}
        file.write_text(json.dumps({"name": target, "sha256": sha(target), **again}))
    assert run_here(box, "keys", "import", str(file)).returncode == 0
    (found,) = [
        one
        for one in json.loads(run_here(box, "keys", "list", "--json").stdout)["credentials"]
        if one["name"] == target
    ]
    assert found.items() >= fields.items()


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


# ---- The audit log, and large imports


def test_an_import_is_one_row_of_the_audit_log(box: Service) -> None:
    said = import_lines(box, *({"name": "n", "sha256": sha(f"audit {n}")} for n in range(3)))
    digest = hashlib.sha256((box.directory / "keys.jsonl").read_bytes()).hexdigest()
    last = json.loads(run_here(box, "audit", "list", "--limit", "1", "--json").stdout)["entries"][0]
    assert (last["action"], last["actor_kind"]) == ("key.import", "command line")
    detail = json.loads(last["detail"])
    assert (detail["count"], detail["source_sha256"]) == (3, digest)
    assert detail["last_id"] - detail["first_id"] == 2
    assert said["imported"] == 3
    assert run_here(box, "audit", "verify").returncode == 0


def test_a_large_import(tmp_path: Path, long: bool) -> None:
    """A hundred thousand keys with ``--long``, in one transaction."""
    count = COUNT if long else 3_000
    with Service(tmp_path, LATCHKEY_FAILURE_LIMIT="off") as box:
        file = tmp_path / "many.jsonl"
        with file.open("w") as lines:
            for number in range(count):
                print(json.dumps({"name": "n", "sha256": sha(f"many-{number}")}), file=lines)
        assert run_import(box, file)["imported"] == count
        for number in (0, 1, count // 2, count - 1):
            assert use(box, f"many-{number}").status == 200
        INVALID.check(use(box, f"many-{count}"), "bearer", bearer=True)


def test_changes_succeed_during_imports(tmp_path: Path, long: bool) -> None:
    """Two imports at once, of a hundred thousand keys each with ``--long``."""
    count = COUNT if long else 2_000
    files = [tmp_path / f"{which}.jsonl" for which in "ab"]
    for file in files:
        with file.open("w") as lines:
            for number in range(count):
                print(json.dumps({"name": "n", "sha256": sha(f"{file}-{number}")}), file=lines)
    with Service(tmp_path) as box, ThreadPoolExecutor(2) as pool:
        imports = [pool.submit(box.command, "keys", "import", str(file)) for file in files]
        written = 0
        while not all(one.done() for one in imports) or not written:
            pair = box.issue(name="meanwhile")
            path = f"/v1/api_keys/{pair.api_key}"
            assert box.request("DELETE", path, pair.bearer).status == 200
            written += 1
        assert [one.result().stdout for one in imports] == [f"imported {count} keys\n"] * 2
        assert run_here(box, "audit", "verify").returncode == 0
