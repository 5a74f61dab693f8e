"""Requests that gunicorn refuses to parse: they get the error envelope."""

from __future__ import annotations

import socket

import pytest

from tests.support.api.contract import (
    EXPECTATION_FAILED,
    HEADERS_TOO_LARGE,
    INVALID_REQUEST,
    NOT_IMPLEMENTED,
    URI_TOO_LONG,
    Dialect,
    Row,
    lines,
    wire,
)
from tests.support.api.hostile import CHUNKED, JSON, create, is_well, send_and_read
from tests.support.service import Pair, Service

pytestmark = pytest.mark.attack


@pytest.mark.parametrize(
    "data",
    [
        b"GET\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"GET  /health HTTP/1.1\r\n\r\n",
        b"get /health HTTP/1.1\r\n\r\n",
        b"G@T /health HTTP/1.1\r\n\r\n",
        b"GET health HTTP/1.1\r\n\r\n",
        b"GET * HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"GET http://[x/ HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\n\n",
        b"GET /health HTTP/3\r\n\r\n",
        b"GET /health HTTP/1.10\r\n\r\n",
        b"GET /health SMTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET /health HTTP/1.1\r\n\r\n",
        wire("GET /health", "No colon"),
        wire("GET /health", ": no name"),
        wire("GET /health", "Bad Name: x"),
        wire("GET /health", "Space : x"),
        wire("GET /health", "N\xe4me: x"),
        wire("GET /health", "X: folded", " over two lines"),
        wire("GET /health", "Host: second"),
        wire("GET /health", "Content-Length: x"),
        wire("GET /health", "Content-Length: -1"),
        wire("GET /health", "Content-Length: +1"),
        wire("GET /health", "Content-Length: \xb2"),
        wire("GET /health", "Content-Length: 1", "Content-Length: 1"),
        wire("GET /health", f"Content-Length: {'9' * 5_000}"),
        wire("GET /health", "Content-Length: 5", CHUNKED),
        wire("GET /health", CHUNKED, "Content-Length: 0"),
        wire("GET /health", "Transfer-Encoding: gzip"),
        wire("GET /health", "Transfer-Encoding: chunked, chunked"),
        wire("GET /health", "Transfer-Encoding: chunked, identity"),
        wire("GET /health", CHUNKED, version="HTTP/1.0"),
    ],
)
def test_a_request_that_the_parser_refuses(service: Service, data: bytes) -> None:
    answer = service.send_raw(data)
    INVALID_REQUEST.check(answer, "pair")
    assert answer.headers["connection"] == "close"


LONG = "x" * 10_000
OTHER_REFUSALS = [
    (URI_TOO_LONG, "GET", LONG, (), "HTTP/1.1"),
    (URI_TOO_LONG, "POST", f"?{LONG}", (), "HTTP/1.1"),
    (URI_TOO_LONG, "GET", LONG * 20, (), "HTTP/1.1"),
    (EXPECTATION_FAILED, "GET", "", ("Expect: nonsense",), "HTTP/1.1"),
    (NOT_IMPLEMENTED, "POST", "", ("Transfer-Encoding: sdch",), "HTTP/1.1"),
    (INVALID_REQUEST, "GET", "", (), "HTTP/2.0"),
    (INVALID_REQUEST, "GET", "", (), "HTTP/0.9"),
    (INVALID_REQUEST, "GET", "", (), "HTTP/3"),
    (INVALID_REQUEST, "G@T", "", (), "HTTP/1.1"),
    (INVALID_REQUEST, "get", "", (), "HTTP/1.1"),
    (INVALID_REQUEST, "GET", "/\xff", (), "HTTP/1.1"),
    (INVALID_REQUEST, "GET", "", ("Bad Name: x",), "HTTP/1.1"),
    (INVALID_REQUEST, "GET", " x", (), "HTTP/1.1"),
    (INVALID_REQUEST, "GET", "", (), "HTTP/1.1\n\n"),
    (HEADERS_TOO_LARGE, "GET", "", (f"X: {LONG}",), "HTTP/1.1"),
]


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/account", "bearer"),
        ("/%76%31/account", "bearer"),
        ("http://localhost/v1/account", "bearer"),
        ("/credentials", "pair"),
        ("/v1x", "pair"),
    ],
)
@pytest.mark.parametrize(("row", "method", "more", "headers", "version"), OTHER_REFUSALS)
def test_a_refusal_of_the_parser_has_the_dialect_of_the_path(
    service: Service,
    path: str,
    dialect: Dialect,
    row: Row,
    method: str,
    more: str,
    headers: tuple[str, ...],
    version: str,
) -> None:
    answer = service.send_raw(wire(f"{method} {path}{more}", *headers, version=version))
    row.check(answer, dialect)
    assert answer.headers["connection"] == "close"
    assert "date" in answer.headers
    # The same where the client does not end its side.
    again = send_and_read(f"{method} {path}{more}", list(headers), service, version)
    assert (again.status, again.body) == (answer.status, answer.body)


def test_a_refusal_of_the_parser_has_no_body_after_head(service: Service) -> None:
    for request, headers in ((f"HEAD /{LONG}", ()), ("HEAD /health", ("Expect: nonsense",))):
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
            connection.sendall(wire(request, *headers))
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        assert received.startswith(b"HTTP/1.1 41")
        assert received.endswith(b"\r\n\r\n")


def test_target_that_is_longer_than_the_server_reads(service: Service) -> None:
    URI_TOO_LONG.check(send_and_read("GET /" + "x" * 200_000, [], service), "pair")


BAD_CHUNKS = [
    b"x\r\n\r\n",
    b"-1\r\n\r\n",
    b"+1\r\nx\r\n0\r\n\r\n",
    b"0x1\r\nx\r\n0\r\n\r\n",
    b"1_0\r\nx\r\n",
    b"\r\n\r\n",
    b" 1\r\nx\r\n0\r\n\r\n",
    b"1\r\nxx\r\n0\r\n\r\n",
    b"1;\x00\r\nx\r\n0\r\n\r\n",
    b"f" * 20_000,
    b'c\r\n{"name":"x"}\r\n0\r\nAuthorization: x\r\n\r\n',
    b'c\r\n{"name":"x"}\r\n0\r\nBad Name: x\r\n\r\n',
]


@pytest.mark.parametrize("body", BAD_CHUNKS)
def test_invalid_chunks_if_the_body_is_read(service: Service, live: Pair, body: bytes) -> None:
    answer = create(service, live, JSON, CHUNKED, body=body)
    INVALID_REQUEST.check(answer, "bearer", bearer=True)
    INVALID_REQUEST.check(
        service.send_raw(wire("POST /credentials", JSON, CHUNKED, body=body)), "pair"
    )


@pytest.mark.parametrize("body", BAD_CHUNKS)
def test_invalid_chunks_if_the_body_is_not_read(service: Service, live: Pair, body: bytes) -> None:
    """The request is answered normally, and the connection is closed."""
    for path, headers, status in (
        ("/health", [], 200),
        ("/v1/account", lines(live.bearer), 200),
        ("/v1/account", [], 401),
    ):
        next_one = wire("GET /metrics")
        data = wire(f"GET {path}", *headers, CHUNKED, body=body) + next_one
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        assert received.startswith(b"HTTP/1.1 %d " % status)
        assert received.count(b"HTTP/1.1 ") == 1


def test_the_service_still_works_afterwards(service: Service, live: Pair) -> None:
    assert is_well(service, live)
