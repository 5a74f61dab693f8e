"""No secret is exposed: a complete run with failures of every kind, then a search for secrets.

The search covers the log at the debug level, all responses except the one that shows a secret, the
metrics, and all that is stored: the files of SQLite with its WAL and WAL index, or the tables, the
files and the logs of PostgreSQL.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api.contract import (
    CHUNKED_HEADER,
    JSON_HEADER,
    chunked,
    derived,
    encode,
    forged,
    lines,
    wire,
)
from tests.support.faults.service_processes import wait_until
from tests.support.service import Answer, NewRows, Pair, Service
from tests.support.service_database import SqliteFile

# A part of the MAC, which any longer part of a secret contains.
SECRET = slice(40, 60)
PASSWORD = "the-password-of-the-database"


class Run:
    """A run over all routes, which records the created secrets and the responses."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.made: list[Pair] = []
        self.answers: list[Answer] = []

    def issue(self, by: Pair, **terms: object) -> Pair:
        """Create a pair. Only this response contains its secret, and it must contain no other."""
        answer = self.service.request(
            "POST", "/v1/api_keys", by.bearer, json_body={"name": "kept", **terms}
        )
        assert answer.status == 201
        pair = self.note(Pair(answer.json["api_key"], answer.json["api_secret"]))
        rest = answer.body.replace(pair.api_secret.encode(), b"")
        self.answers.append(Answer(answer.status, answer.headers, rest))
        return pair

    def note(self, pair: Pair) -> Pair:
        self.made.append(pair)
        return pair

    def ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        json_body: object = None,
        body: bytes | None = None,
    ) -> Answer:
        answer = self.service.request(method, path, headers, json_body=json_body, body=body)
        self.answers.append(answer)
        return answer

    def send(self, data: bytes) -> Answer:
        answer = self.service.send_raw(data)
        self.answers.append(answer)
        return answer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, new_rows: NewRows) -> Iterator[Run]:
    rows = new_rows()
    service = Service(
        tmp_path_factory.mktemp("secrets"),
        on=rows,
        LATCHKEY_LOG_LEVEL="debug",
        LATCHKEY_WORKERS="1",
        LATCHKEY_FAILURE_LIMIT="40/day",
    )
    if rows is not None:
        # The server of the tests takes any password.
        service.settings["LATCHKEY_DATABASE_URL"] = rows.url(PASSWORD)
    with service:
        yield Run(service)


@pytest.fixture(scope="module")
def searched(run: Run) -> dict[str, bytes]:
    """Everything that was written, after the run."""
    owner = run.note(run.service.create_key("live"))
    live = run.issue(owner)
    test = run.note(run.service.create_key("test"))
    use_every_route(run, live, test)
    put_secrets_in_wrong_places(run, live, run.note(derived(run.service)))
    send_broken_requests(run, live)
    before = {}
    if isinstance(run.service.rows, SqliteFile):
        # A new connection may empty the WAL, so read the files before and after the failures.
        before = {f"{name} before": text for name, text in run.service.rows.written().items()}
    fail_at_the_database(run, live, run.issue(live))
    assert 429 in {
        run.ask("GET", "/v1/account", run.note(forged(live)).bearer).status for _ in range(50)
    }
    # After failures, connections are opened again with pauses.
    wait_until(lambda: run.service.get("/ready").status == 200, "the database")
    run.issue(live)

    written = {
        **before,
        "answers": b"\n".join(
            repr(answer.headers).encode() + answer.body for answer in run.answers
        ),
        "metrics": run.service.get("/metrics").body,
        "log": run.service.log_path.read_bytes(),
        **run.service.rows.written(),
    }
    run.service.command("keys", "list", "--json")
    run.service.stop()
    written["log to its end"] = run.service.log_path.read_bytes()
    at_rest = run.service.rows.written()
    written["database at rest"] = at_rest.get("tables") or at_rest["latchkey.db"]
    return written


def use_every_route(run: Run, live: Pair, test: Pair) -> None:
    """Requests of valid clients, and their refusals."""
    for path in ("/health", "/ready", "/metrics", "/openapi.json", "/docs/", "/nowhere"):
        for pair in (None, live):
            run.ask("GET", path, pair.bearer if pair else None)
    fresh = run.note(derived(run.service))
    body = vars(fresh)
    for sent in (
        body,
        body,
        {**body, "name": 1},
        {**body, "api_key": fresh.api_secret},
        vars(run.note(forged(fresh))),
        {"api_key": live.api_key, "api_secret": fresh.api_secret},
        {**body, "api_secret": fresh.api_secret[:-1]},
        {**body, "api_secret": [fresh.api_secret]},
    ):
        run.ask("POST", "/credentials", json_body=sent)
    for pair in (live, test, fresh):
        for headers in (pair.bearer, pair.headers, {**pair.bearer, **pair.headers}):
            for path in ("/credentials", "/v1/api_keys", f"/v1/api_keys/{live.api_key}"):
                run.ask("GET", path, headers)
            run.ask("GET", "/v1/account", headers)
            run.ask("PUT", "/v1/account", headers)
            run.ask("GET", "/v1/nowhere", headers)
    limited = run.issue(live, scopes=["account:read"])
    run.ask("GET", "/credentials", limited.headers)
    run.ask("DELETE", f"/v1/api_keys/{limited.api_key}", limited.bearer)
    run.ask("GET", "/v1/account", limited.bearer)
    run.ask("DELETE", f"/credentials/{fresh.api_key}", live.headers)
    for wrong in (Pair(live.api_key, test.api_secret), Pair(live.api_secret, live.api_key)):
        run.ask("GET", "/v1/account", wrong.headers)
    for number in range(3):
        run.ask("GET", "/v1/account", run.note(forged(live)).bearer)
        run.ask("GET", "/v1/account", run.note(derived(run.service)).headers)
        run.ask("GET", "/v1/account", {"X-Api-Secret": live.api_secret[: 70 + number]})


def put_secrets_in_wrong_places(run: Run, live: Pair, lost: Pair) -> None:
    """Secrets of the caller, and one that was never registered, in wrong places."""
    for secret in (live.api_secret, lost.api_secret):
        half = secret[40:]
        for method, path in (
            ("DELETE", f"/credentials/{secret}"),
            ("GET", f"/v1/api_keys/{secret}"),
            ("DELETE", f"/v1/api_keys/{secret}"),
            ("GET", f"/{secret}"),
            ("GET", f"/v1/{secret}"),
            ("GET", f"/v1/api_keys/%73k_{secret[3:]}"),
            ("GET", f"/v1/api_keys/sk%255Flive_{secret[8:]}"),
            ("GET", f"/{secret[8:]}"),
            ("GET", f"/docs/{secret}"),
            ("GET", f"/docs/assets/{secret}"),
            ("GET", f"/console/{secret}"),
            ("GET", f"/credentials?cursor={secret}"),
            ("GET", f"/credentials?limit={secret}"),
            ("GET", f"/credentials?{secret}=1"),
            ("GET", f"/credentials?api_secret={secret}"),
            ("GET", f"/health?secret={half}"),
        ):
            run.ask(method, path, live.headers)
            run.ask(method, path)
        for body in (
            {secret: 1},
            {"name": "x", secret: "x"},
            {"name": "x", secret.lower(): "x"},
            {"name": secret},
            {"name": f"the secret is {secret}!"},
            {"name": "x", "mode": secret},
            {"name": "x", "scopes": [secret]},
            {"name": "x", "scopes": {secret: 1}},
            {"name": "x", "expires_at": secret},
            {"api_key": secret, "api_secret": secret},
            {"api_key": lost.api_key, "api_secret": secret, "name": secret},
            {"api_key": lost.api_key, "api_secret": {secret: secret}},
            [secret],
            secret,
        ):
            for path in ("/v1/api_keys", "/credentials"):
                assert run.ask("POST", path, live.bearer, json_body=body).status in (400, 403)
        for raw in (
            secret.encode(),
            b'{"name": ' + secret.encode(),
            b"[" * 9_000 + secret.encode(),
        ):
            run.ask(
                "POST", "/v1/api_keys", {**live.bearer, JSON_HEADER[0]: JSON_HEADER[1]}, body=raw
            )
        run.ask("POST", "/credentials", {"Content-Type": secret}, body=b"{}")
        for headers in (
            {"Authorization": f"Basic {secret}"},
            {"Authorization": secret},
            {"Authorization": f"Bearer {secret}, {secret}"},
            {"X-Api-Key": secret},
            {"X-Api-Key": secret, "X-Api-Secret": secret},
            {"X-Api-Secret": f"{secret},{secret}"},
            {"X-Forwarded-For": secret, "Referer": secret, "User-Agent": secret, "Cookie": secret},
            {secret.replace("_", "-"): "x"},
            {secret: "x"},
        ):
            run.ask("GET", "/v1/account", headers)


def send_broken_requests(run: Run, live: Pair) -> None:
    """Requests that the parser refuses, with the secret in or near the refused part."""
    secret, credential = live.api_secret, lines(live.bearer)[0]
    create = [credential, ": ".join(JSON_HEADER)]
    for data in (
        wire(f"GET /v1/{secret}", version="HTTP/7.7"),
        wire(f"GET {secret}"),
        wire(f"{secret} /"),
        wire(f"GET /health {secret}"),
        wire("GET /health", version=secret),
        wire("GET /v1/account", credential, "Bad Name: x"),
        wire("GET /v1/account", f"Bad Name {secret}: x"),
        wire("GET /v1/account", f"{secret}"),
        wire("GET /v1/account", f"{credential}\x00"),
        wire("GET /v1/account", credential, f" {secret}"),
        wire("GET /v1/account", f"Expect: {secret}"),
        wire("GET /v1/account", f"Host: {secret}"),
        wire("GET /v1/account", f"Content-Length: {secret}"),
        wire("GET /v1/account", f"Transfer-Encoding: {secret}"),
        wire("GET /v1/account", credential, f"X: {secret * 900}"),
        wire(f"GET /{secret * 90}", credential),
        wire("POST /v1/api_keys", *create, CHUNKED_HEADER, body=f"{secret}\r\n"),
        wire("POST /v1/api_keys", *create, CHUNKED_HEADER, body=f"1;{secret}\x00\r\n"),
        wire("POST /v1/api_keys", *create, CHUNKED_HEADER, body=f"0\r\nBad {secret}: x\r\n\r\n"),
        wire("POST /v1/api_keys", *create, CHUNKED_HEADER, body=chunked(secret.encode() * 400)),
        wire("POST /v1/api_keys", *create, "Content-Length: 500", body=encode({"name": secret})),
        wire("GET /health", credential, CHUNKED_HEADER, body=f"{secret}\r\n"),
    ):
        # 501 is for a transfer coding that the server does not know.
        assert run.send(data).status in (*range(200, 500), 501)
    for end in (40, 90, 110):
        # The client disconnects within its headers, so there is no response.
        with socket.create_connection(("127.0.0.1", run.service.port)) as connection:
            connection.sendall(wire("GET /v1/account", credential)[:end])


def fail_at_the_database(run: Run, live: Pair, cold: Pair) -> None:
    with run.service.rows.away():
        for pair in (live, cold, run.note(derived(run.service))):
            for headers in (pair.bearer, pair.headers):
                run.ask("GET", "/v1/account", headers)
                run.ask("GET", "/credentials", headers)
                run.ask("POST", "/v1/api_keys", headers, json_body={"name": "x"})
            run.ask("POST", "/credentials", json_body=vars(pair))
        assert run.ask("GET", "/ready").status == 503
    assert {500, 503} <= {answer.status for answer in run.answers}


def test_run_was_complete(run: Run, searched: dict[str, bytes]) -> None:
    """A search is meaningful only if everything has happened."""
    statuses = {answer.status for answer in run.answers}
    assert statuses >= {200, 201, 400, 401, 403, 404, 405, 409, 413, 415, 429, 431, 500, 503}
    assert len(run.made) > 20
    stored = {"tables", "files", "log of changes", "log of the server"}
    if isinstance(run.service.rows, SqliteFile):
        files = {"latchkey.db", "latchkey.db-wal", "latchkey.db-shm"}
        stored = files | {f"{name} before" for name in files}
    assert set(searched) >= stored
    assert all(searched[name] for name in (*stored, "answers", "metrics", "log"))
    # The search finds texts that are expected there, so it looks in the right places.
    key = run.made[0].api_key.encode()
    assert key in searched["database at rest"]
    assert key in searched["answers"]
    assert b"[DEBUG]" in searched["log"]


def test_the_search_finds_no_secret(run: Run, searched: dict[str, bytes]) -> None:
    found = [
        (where, pair.api_key)
        for where, text in searched.items()
        for pair in run.made
        for part in [pair.api_secret[SECRET]]
        if part.encode() in text or part.lower().encode() in text
    ]
    assert found == []


def test_the_search_finds_no_password(searched: dict[str, bytes]) -> None:
    assert [where for where, text in searched.items() if PASSWORD.encode() in text] == []


def test_the_search_finds_no_derivation_key(run: Run, searched: dict[str, bytes]) -> None:
    key = Path(run.service.settings["LATCHKEY_DERIVATION_KEYS_FILE"]).read_text().strip()
    for where, text in searched.items():
        assert key.encode() not in text, where
        assert bytes.fromhex(key) not in text, where
