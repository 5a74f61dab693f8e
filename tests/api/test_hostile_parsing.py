"""Requests that gunicorn itself refuses to parse: they are answered in the envelope."""

from __future__ import annotations

import socket

import pytest

from tests.api.contract import (
    INVALID_REQUEST,
    lines,
    wire,
)
from tests.api.hostile import CHUNKED, JSON, create, is_well, send_and_read
from tests.service import Pair, Service


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
        b"GET /health HTTP/0.9\r\n\r\n",
        b"GET /health HTTP/2.0\r\n\r\n",
        b"GET /health HTTP/3\r\n\r\n",
        b"GET /health HTTP/1.10\r\n\r\n",
        b"GET /health SMTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET /health HTTP/1.1\r\n\r\n",
        wire("GET /health", "No colon"),
        wire("GET /health", ": no name"),
        wire("GET /health", "Bad Name: x"),
        wire("GET /health", "Space : x"),
        wire("GET /health", "N\xe4me: x"),
        wire("GET /health", "X: folded", " over two lines"),
        wire("GET /health", "Host: second"),
        wire("GET /health", "Expect: nonsense"),
        wire("GET /health", "Content-Length: x"),
        wire("GET /health", "Content-Length: -1"),
        wire("GET /health", "Content-Length: +1"),
        wire("GET /health", "Content-Length: \xb2"),
        wire("GET /health", "Content-Length: 1", "Content-Length: 1"),
        wire("GET /health", f"Content-Length: {'9' * 5_000}"),
        wire("GET /health", "Content-Length: 5", CHUNKED),
        wire("GET /health", CHUNKED, "Content-Length: 0"),
        wire("GET /health", "Transfer-Encoding: sdch"),
        wire("GET /health", "Transfer-Encoding: gzip"),
        wire("GET /health", "Transfer-Encoding: chunked, chunked"),
        wire("GET /health", "Transfer-Encoding: chunked, identity"),
        wire("GET /health", CHUNKED, version="HTTP/1.0"),
        wire("GET /" + "x" * 10_000),
        wire("GET /health?" + "x" * 10_000),
    ],
)
def test_what_the_parser_refuses(service: Service, data: bytes) -> None:
    answer = service.send_raw(data)
    INVALID_REQUEST.check(answer, "pair")
    assert answer.headers["connection"] == "close"


def test_what_the_parser_refuses_in_the_dialect_of_the_path(service: Service, live: Pair) -> None:
    answer = service.send_raw(wire("GET /v1/account", *lines(live.bearer), "Bad Name: x"))
    INVALID_REQUEST.check(answer, "bearer")


def test_target_that_is_longer_than_the_server_reads(service: Service) -> None:
    INVALID_REQUEST.check(send_and_read("GET /" + "x" * 200_000, [], service), "pair")


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
def test_bad_chunks_where_the_body_is_read(service: Service, live: Pair, body: bytes) -> None:
    answer = create(service, live, JSON, CHUNKED, body=body)
    INVALID_REQUEST.check(answer, "bearer", bearer=True)
    INVALID_REQUEST.check(
        service.send_raw(wire("POST /credentials", JSON, CHUNKED, body=body)), "pair"
    )


@pytest.mark.parametrize("body", BAD_CHUNKS)
def test_bad_chunks_where_no_body_is_read(service: Service, live: Pair, body: bytes) -> None:
    """The request is answered as it stands; the connection is not used again."""
    for path, headers, status in (
        ("/health", [], 200),
        ("/v1/account", lines(live.bearer), 200),
        ("/v1/account", [], 401),
    ):
        next_one = wire("GET /metrics")
        data = wire(f"GET {path}", *headers, CHUNKED, body=body) + next_one
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        assert received.startswith(b"HTTP/1.1 %d " % status)
        assert received.count(b"HTTP/1.1 ") == 1


def test_service_is_well_after_all_that(service: Service, live: Pair) -> None:
    assert is_well(service, live)
