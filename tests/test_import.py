"""Keys of another system: imported all or none, and then used as bearer tokens."""

from __future__ import annotations

import csv
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from latchkey.credentials.derivation import DerivationKey
from latchkey.credentials.tokens import new_api_key
from tests.support.api.contract import EXPIRED, INVALID, REVOKED
from tests.support.importing import import_lines, imported, run_import, sha, use
from tests.support.latchkey_command import run_here
from tests.support.service import Pair, Service

COUNT = 100_000


@pytest.fixture(scope="module")
def box(running_box: Service) -> Service:
    """A service with two workers, which runs during the imports."""
    return running_box


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
