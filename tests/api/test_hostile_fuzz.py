"""Randomly damaged requests: refused with the error envelope, and the worker survives.

Each round takes a valid request, changes some of its bytes, lines or lengths, and sends it. The
seed is fixed. To repeat a round, run the test with the same seed; the failure names the round.
"""

from __future__ import annotations

import json
import random
import re
import socket
from contextlib import suppress
from dataclasses import dataclass

import pytest

from tests.support.api.contract import chunked, lines, wire
from tests.support.api.hostile import CHUNKED, CREATE, JSON, is_well, length
from tests.support.faults.service_processes import workers
from tests.support.service import Pair, Service

pytestmark = pytest.mark.attack

SEED = 20261129
PATIENCE = 60.0
FORM = "Content-Type: application/x-www-form-urlencoded"
# A transfer coding and a version that the server does not speak.
REFUSED_AS_UNKNOWN = (501, 505)

TOKENS = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"%", b"%00", b"%2e%2e%2f",
    b"../", b"\xff\xfe", b"\xed\xa0\x80", "é".encode(), b"\xc2", b"{", b"[", b'"', b"\\",
    b"\\ud800", b"?", b"#", b"//", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"GET ", b"POST ",
    b"Host: x\r\n", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n",
    b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n", b"Connection: keep-alive\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"X-Api-Key: x\r\n",
    b"Authorization: Bearer\r\n", b"Cookie: session=x\r\n", b"Content-Encoding: gzip\r\n",
    b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"-1\r\n", b"5;a=b\r\n", b"A" * 300, b"9" * 30,
    b"1e999", b"NaN", b"null",
]  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """The bytes received before the connection was closed."""

    raw: bytes

    @property
    def status(self) -> int:
        found = re.match(rb"HTTP/1\.\d (\d{3}) ", self.raw)
        return int(found[1]) if found else 0

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0].lower()

    @property
    def body(self) -> bytes:
        declared = re.search(rb"\r\ncontent-length: (\d+)", self.head)
        body = self.raw.partition(b"\r\n\r\n")[2]
        return body[: int(declared[1])] if declared else body


def right_requests(key: Pair, other: Pair) -> list[bytes]:
    """Valid requests of every kind; none of them changes the key that it uses."""
    bearer, pair = lines(key.bearer), lines(key.headers)
    of_other = f"/v1/api_keys/{other.api_key}"
    named = b'{"name": "fuzzed", "expires_at": "2099-01-15T10:30:00Z", "scopes": ["account:read"]}'
    form = b"user_name=ada&password=correct+horse&next=/console/keys"
    return [
        wire("GET /v1/account", *bearer),
        wire("GET /v1/account", *pair),
        wire("GET /v1/api_keys?limit=3&status=active", *bearer),
        wire(f"GET {of_other}", *pair),
        wire(f"GET {of_other}/usage", *bearer),
        wire(CREATE, *bearer, JSON, length(named), body=named),
        wire(CREATE, *pair, JSON, CHUNKED, body=chunked(named[:20], named[20:])),
        wire(f"PATCH {of_other}", *bearer, JSON, length(named), body=named),
        wire(f"POST {of_other}/rotate", *bearer, JSON, "Content-Length: 2", body=b"{}"),
        wire("POST /console/credentials/register", JSON, length(named), body=named),
        wire("POST /console/sign-in", FORM, length(form), body=form),
        wire("GET /console/sign-in?next=/console/keys", "Cookie: session=abc; theme=dark"),
        wire("GET /metrics"),
        wire("GET /openapi.json", "Accept: application/json;q=0.5", "Accept-Encoding: gzip"),
        wire("HEAD /health"),
        wire("OPTIONS /v1/account", "Origin: https://example.com"),
    ]  # fmt: skip


def damaged(chosen: random.Random, requests: list[bytes]) -> bytes:
    """One of the requests with up to six changes."""
    made = bytearray(chosen.choice(requests))
    for _ in range(chosen.randrange(1, 7)):
        at = chosen.randrange(len(made) + 1)
        end = min(len(made), at + chosen.choice((1, 1, 2, 8, 40)))
        match chosen.randrange(8):
            case 0:
                made[at:end] = chosen.randbytes(end - at)
            case 1:
                del made[at:end]
            case 2:
                made[at:at] = made[at:end]
            case 3 | 4:
                made[at:at] = chosen.choice(TOKENS)
            case 5:
                split = bytes(made).split(b"\r\n")
                chosen.shuffle(split)
                made[:] = b"\r\n".join(split)
            case 6:
                other = chosen.choice(requests)
                made[at:] = other[chosen.randrange(len(other)) :]
            case _:
                made[:] = re.sub(rb"(?i)length: \d+", b"length: %d" % chosen.randrange(200), made)
        if not made:
            made[:] = b"\r\n"
    return bytes(made)


def exchange(service: Service, request: bytes) -> Reply:
    """All received bytes; TimeoutError if the server neither responds nor closes."""
    received = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as connection:
        with suppress(ConnectionError):
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                received += chunk
    return Reply(received)


def fault(request: bytes, reply: Reply) -> str | None:
    """The fault of a response, in words."""
    if not reply.raw:
        return None
    if reply.status == 0:
        return "no status line"
    if reply.status >= 500 and reply.status not in REFUSED_AS_UNKNOWN:
        return "a fault of the server"
    if reply.status < 400 or not reply.body or re.match(rb"\s*HEAD\b", request):
        return None
    if b"\r\ncontent-type: text/html" in reply.head and b"/console" in request:
        return None
    try:
        error = json.loads(reply.body)["error"]
    except (ValueError, KeyError, TypeError):
        return "no envelope"
    return None if sorted(error) == ["code", "message", "type"] else "another envelope"


def test_damaged_requests(service: Service, live: Pair, long: bool) -> None:
    chosen = random.Random(SEED)
    key, other = service.issue("live"), service.issue("live")
    requests = right_requests(key, other)
    before = workers(service)
    logged = len(service.log)
    answered = 0
    secrets = {pair.api_secret[8:24].encode() for pair in (key, other, live)}
    rounds = 60_000 if long else 1_500
    for number in range(rounds):
        request = damaged(chosen, requests)
        reply = exchange(service, request)
        answered += bool(reply.raw)
        secrets.update(re.findall(rb"sk_(?:live|test)_(\w{16})", reply.raw))
        wrong = fault(request, reply)
        assert wrong is None, f"round {number}: {wrong}: {request!r} -> {reply.raw[:500]!r}"
        if number % 200 == 0:
            assert service.get("/health").status == 200
    assert answered > rounds / 2
    assert workers(service) == before
    written = service.log[logged:]
    assert len(secrets) > 3, "no request made a key"
    for secret in secrets:
        assert secret.decode() not in written
    assert "correct horse" not in written
    assert "correct+horse" not in written
    assert is_well(service, live)
