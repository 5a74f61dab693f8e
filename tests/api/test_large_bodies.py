"""Bodies that the service does not read: ordinary clients receive the response while they send."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
from collections.abc import Callable
from itertools import repeat
from pathlib import Path

import pytest
import requests

from tests.support.api.contract import chunked, encode, lines, wire
from tests.support.api.hostile import CHUNKED, CREATE, JSON, is_well, length
from tests.support.service import Pair, Service

SIZE = 3_000_000
_PIECE = b"x" * 10_000

# The method, the path, whether a key is sent, and the status.
ASKED = [
    ("POST", "/v1/api_keys", True, 413),
    ("POST", "/v1/api_keys", False, 401),
    ("POST", "/credentials", False, 413),
    ("POST", "/nowhere", True, 404),
    ("PUT", "/v1/account", True, 405),
    ("GET", "/health", False, 200),
    ("POST", "/console/sign-in", False, 413),
    ("POST", "/v1/" + "x" * 10_000, False, 414),
]
Send = Callable[[Service, str, str, dict[str, str], bool], int]


def by_http_client(
    service: Service, method: str, path: str, headers: dict[str, str], in_chunks: bool
) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    body = repeat(_PIECE, SIZE // len(_PIECE)) if in_chunks else b"x" * SIZE
    try:
        connection.request(method, path, body, headers, encode_chunked=in_chunks)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def by_requests(
    service: Service, method: str, path: str, headers: dict[str, str], in_chunks: bool
) -> int:
    body = repeat(_PIECE, SIZE // len(_PIECE)) if in_chunks else b"x" * SIZE
    return requests.request(
        method, service.url + path, data=body, headers=headers, timeout=60
    ).status_code


def by_curl(
    service: Service, method: str, path: str, headers: dict[str, str], in_chunks: bool
) -> int:
    """The client sends ``Expect: 100-continue`` first, and the body a second later."""
    file = service.directory / "large"
    if not file.exists():
        file.write_bytes(b"x" * SIZE)
    if in_chunks:
        headers = {**headers, "Transfer-Encoding": "chunked"}
    given = [part for line in lines(headers) for part in ("-H", line)]
    done = subprocess.run(
        [
            *("curl", "-sS", "-X", method, "--data-binary", f"@{file}", "--max-time", "60"),
            *("-o", str(service.directory / "answer"), "-w", "%{http_code}"),
            *(*given, service.url + path),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.fixture(params=["http.client", "requests", "curl", "curl without Expect"])
def send(request: pytest.FixtureRequest) -> Send:
    if request.param.startswith("curl") and shutil.which("curl") is None:
        pytest.skip("there is no curl")
    if request.param == "http.client":
        return by_http_client
    if request.param == "requests":
        return by_requests
    if request.param == "curl":
        return by_curl
    return lambda service, method, path, headers, in_chunks: by_curl(
        service, method, path, {**headers, "Expect": ""}, in_chunks
    )


@pytest.mark.parametrize("in_chunks", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize(("method", "path", "with_key", "status"), ASKED)
def test_the_client_reads_the_response(
    service: Service,
    live: Pair,
    send: Send,
    method: str,
    path: str,
    with_key: bool,
    status: int,
    in_chunks: bool,
) -> None:
    headers = {"Content-Type": "application/json", **(live.bearer if with_key else {})}
    if path.startswith("/console/"):
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    assert send(service, method, path, headers, in_chunks) == status


def talk(service: Service, *sent: bytes) -> bytes:
    """Send in turns, each after a response to the previous one; returns all responses."""
    received = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        for data in sent:
            connection.sendall(data)
            received += connection.recv(65536)
        received += b"".join(iter(lambda: connection.recv(65536), b""))
    return received


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EXPECT = "Expect: 100-continue"


def test_100_continue_is_sent_if_the_body_is_read(service: Service, live: Pair) -> None:
    body = encode({"name": "x"})
    for framing, sent in ((length(body), body), (CHUNKED, chunked(body))):
        head = wire(CREATE, *lines(live.bearer), JSON, framing, EXPECT, "Connection: close")
        received = talk(service, head, sent)
        assert received.startswith(CONTINUE + b"HTTP/1.1 201 ")
        assert received.count(b"HTTP/1.1 ") == 2


@pytest.mark.parametrize(
    ("request_line", "with_key", "headers", "status"),
    [
        (CREATE, True, (JSON, f"Content-Length: {SIZE}"), 413),
        (CREATE, True, (JSON, "Content-Length: 99999999999999"), 413),
        (CREATE, False, (JSON, "Content-Length: 10"), 401),
        (CREATE, False, (JSON, CHUNKED), 401),
        ("POST /nowhere", True, (JSON, "Content-Length: 10"), 404),
        ("PUT /v1/account", True, (JSON, CHUNKED), 405),
        ("GET /health", False, ("Content-Length: 10",), 200),
        # There is nothing to ask for.
        ("GET /health", False, ("Content-Length: 0", "Connection: close"), 200),
        ("GET /health", False, ("Connection: close",), 200),
    ],
)
def test_100_continue_is_not_sent_if_the_body_is_not_read(
    service: Service,
    live: Pair,
    request_line: str,
    with_key: bool,
    headers: tuple[str, ...],
    status: int,
) -> None:
    """The connection is closed: the server cannot know whether the body will arrive."""
    credential = lines(live.bearer) if with_key else []
    received = talk(service, wire(request_line, *credential, *headers, EXPECT))
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in received


def test_a_short_body_that_is_not_read_leaves_the_connection_open(service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    for _ in range(3):
        connection.request("POST", "/v1/api_keys", b"x" * 10_000)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (401, "keep-alive")
        answer.read()
    connection.close()


@pytest.mark.parametrize("value", ["close", "Close", "close, TE", "keep-alive, close", "te,close"])
def test_the_connection_is_closed_if_the_client_requests_it(service: Service, value: str) -> None:
    received = talk(service, wire("GET /health", f"Connection: {value}", "TE: trailers"))
    assert b"\r\nConnection: close\r\n" in received


def test_clients_that_do_not_close_delay_nobody(solo: Service) -> None:
    """One worker, and many connections that only the worker has closed."""
    open_ones = []
    try:
        for _ in range(30):
            connection = socket.create_connection(("127.0.0.1", solo.port), timeout=60)
            open_ones.append(connection)
            connection.sendall(wire("GET /health", "Connection: close"))
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert (answer.status, answer.read()) == (200, b'{"status":"ok"}')
        assert solo.request("GET", "/health", timeout=60).status == 200
    finally:
        for connection in open_ones:
            connection.close()


def test_the_service_still_works_afterwards(service: Service, live: Pair, tmp_path: Path) -> None:
    assert is_well(service, live)
