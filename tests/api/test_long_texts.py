"""Texts of 16 KiB in all places that are parsed before a refusal: answered fast, beside others.

The server, werkzeug, the cookie and e-mail parsers of the standard library and pydantic parse these
texts too. One that backtracks would hold the GIL, and `/health` would not respond meanwhile.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable

import pytest

from tests.support.api.contract import lines, wire
from tests.support.api.hostile import CREATE, JSON, is_well
from tests.support.service import Pair, Service

pytestmark = pytest.mark.attack

SIZE = 16 << 10
HANG = 60.0
"""Seconds; what is linear takes milliseconds."""

UNITS = [
    "a",
    "/",
    "%",
    "%2",
    "=",
    "&",
    ";",
    ",",
    '"',
    "\\",
    " ",
    "\t",
    "0",
    "-",
    ".",
    ":",
    "[",
    "(",
    "a=b;",
]
UNITS += [
    "a,",
    "a/",
    "?a",
    "q=0.",
    "; q=",
    "=?a?q?",
    '="\\',
    "é",
    "{",
    '{"a":',
    "[[",
    "1e",
    "T00:",
    "+00:",
]
ENDS = ["", "!"]
ANSWERED = tuple(b"HTTP/1.1 " + status for status in (b"2", b"3", b"4", b"501"))

FORM = "Content-Type: application/x-www-form-urlencoded"


def body(content: str | bytes, kind: str, target: str, *headers: str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return wire(target, kind, f"Content-Length: {len(data)}", *headers, body=data)


def in_headers(text: str, key: Pair) -> list[bytes]:
    bearer = lines(key.bearer)
    raw = text.encode().decode("latin-1")
    names = (
        "Cookie", "Host", "Content-Type", "Accept", "Accept-Language", "Accept-Encoding", "Range",
        "Authorization", "X-Api-Key", "X-Api-Secret", "X-Forwarded-For", "X-Forwarded-Proto",
        "Forwarded", "If-None-Match", "If-Modified-Since", "Date", "Referer", "Origin", "Expect",
        "Transfer-Encoding", "Connection", "Upgrade", "Traceparent", "X-Request-Id",
    )  # fmt: skip
    # Just below the server's limit for one field, so that the parsers behind it get it.
    longest = raw[: 8190 - 40]
    targets = ("GET /console/sign-in", "GET /v1/account", "POST /v1/api_keys")
    sent: list[bytes] = []
    for name in names:
        headers = [] if name in ("Authorization", "X-Api-Key", "X-Api-Secret") else bearer
        prefix = {"Authorization": "Basic ", "Cookie": "session="}.get(name, "")
        for value in (raw, prefix + longest):
            sent.append(wire(targets[len(sent) % 3], *headers, f"{name}: {value}"))
    sent.append(wire("GET /v1/account", *bearer, f"{raw}: x"))
    sent.append(
        wire(
            "POST /v1/api_keys",
            *bearer,
            f"Content-Type: multipart/form-data; boundary={longest}",
            "Content-Length: 5",
            body=b"--a\r\n",
        )
    )
    return sent


def in_targets(text: str, key: Pair) -> list[bytes]:
    bearer = lines(key.bearer)
    sent = []
    quoted = text.replace(" ", "+").replace("\t", "+").encode().decode("latin-1")
    for size in (SIZE, 3900):
        part = quoted[:size]
        sent += [
            wire(f"GET /console/sign-in?next={part}"),
            wire(f"GET /console/sign-in?next=/console/{part}"),
            wire(f"GET /v1/{part}", *bearer),
            wire(f"GET /v1/api_keys/{part}", *bearer),
            wire(f"GET /v1/api_keys?{part}", *bearer),
            wire(f"GET /v1/api_keys?cursor={part}&limit={part[:9]}", *bearer),
            wire(f"GET /console/static/{part}"),
            wire(f"GET /docs/{part}"),
        ]
    return sent


def in_bodies(text: str, key: Pair) -> list[bytes]:
    bearer = lines(key.bearer)
    sent = []
    for part in (text, text[:16_000]):
        sent += [
            body(json.dumps({"name": part}), JSON, CREATE, *bearer),
            body(json.dumps({part: 1}), JSON, CREATE, *bearer),
            body(json.dumps({"name": "x", "expires_at": part}), JSON, CREATE, *bearer),
            body(json.dumps({"name": "x", "scopes": [part]}), JSON, CREATE, *bearer),
            body(json.dumps({"api_key": part, "api_secret": part}), JSON, CREATE, *bearer),
            body(part, JSON, CREATE, *bearer),
            body("[" * len(part), JSON, CREATE, *bearer),
            body(f"user_name={part}&password={part}&next={part}", FORM, "POST /console/sign-in"),
            body(part, FORM, "POST /console/sign-in"),
            body(f"csrf_token={part}&name=a&password=b", FORM, "POST /console/set-up"),
        ]  # fmt: skip
    return sent


def exchange(service: Service, request: bytes) -> bytes:
    """The first bytes of the response; TimeoutError if there is none."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=HANG) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(4096)
        except ConnectionError:
            # Refused before all of it was read.
            return b""


@pytest.mark.parametrize(
    "place", [in_headers, in_targets, in_bodies], ids=lambda place: place.__name__
)
def test_long_texts_are_answered_immediately(
    service: Service, live: Pair, place: Callable[[str, Pair], list[bytes]], long: bool
) -> None:
    stop = threading.Event()
    slowest = [0.0]

    def ask_health() -> None:
        while not stop.is_set():
            begun = time.monotonic()
            assert service.request("GET", "/health", timeout=HANG).status == 200
            slowest[0] = max(slowest[0], time.monotonic() - begun)
            time.sleep(0.01)

    beside = threading.Thread(target=ask_health)
    beside.start()
    failed = []
    try:
        for number, unit in enumerate(UNITS):
            for end in ENDS:
                text = unit * (SIZE // len(unit)) + end
                requests = place(text, live)
                # Each request with some of the texts, unless there is time for all.
                for request in requests if long else requests[number % 5 :: 5]:
                    answer = exchange(service, request)
                    # 501 refuses a transfer coding.
                    if answer and not answer.startswith(ANSWERED):
                        failed.append((request[150:260], answer[:20], answer[-150:]))
    finally:
        stop.set()
        beside.join()
    assert failed == []
    assert slowest[0] < HANG
    assert is_well(service, live)
