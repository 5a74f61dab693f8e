"""Bodies that no valid client sends: each is refused with the error envelope.

Most are sent as bytes, because an HTTP library would correct or refuse them itself.
"""

from __future__ import annotations

import socket

import pytest

from tests.support.api.contract import (
    INVALID_REQUEST,
    MAX_BODY,
    PAYLOAD_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    chunked,
    encode,
    lines,
    nested,
    wire,
)
from tests.support.api.hostile import CHUNKED, CREATE, JSON, create, is_well, length
from tests.support.service import Pair, Service

pytestmark = pytest.mark.attack


# Bodies: their length.


@pytest.mark.parametrize("size", [MAX_BODY + 1, 1_000_000])
def test_a_body_whose_announced_length_exceeds_the_limit(
    service: Service, live: Pair, size: int
) -> None:
    body = b"x" * size
    PAYLOAD_TOO_LARGE.check(create(service, live, JSON, length(body), body=body), "bearer")


def test_body_over_the_limit_that_is_announced_and_never_sent(service: Service, live: Pair) -> None:
    PAYLOAD_TOO_LARGE.check(create(service, live, JSON, "Content-Length: 999999999999"), "bearer")


def test_body_at_the_limit(service: Service, live: Pair) -> None:
    body = encode({"name": "x"}).ljust(MAX_BODY)
    assert create(service, live, JSON, length(body), body=body).status == 201
    assert create(service, live, JSON, CHUNKED, body=chunked(body)).status == 201


def test_chunked_body_over_the_limit(service: Service, live: Pair) -> None:
    padded = encode({"name": "x"}).ljust(MAX_BODY + 1)
    for body in (chunked(padded), chunked(*[b" " * 100] * 200), chunked(b"x" * 300_000)):
        PAYLOAD_TOO_LARGE.check(create(service, live, JSON, CHUNKED, body=body), "bearer")
        answer = service.send_raw(wire("POST /credentials", JSON, CHUNKED, body=body))
        PAYLOAD_TOO_LARGE.check(answer, "pair")


def test_body_that_ends_before_its_announced_length(service: Service, live: Pair) -> None:
    """Even if the received part is valid by itself."""
    for body in (b'{"name":', b'{"name":"x"}', b""):
        answer = create(service, live, JSON, f"Content-Length: {len(body) + 10}", body=body)
        INVALID_REQUEST.check(answer, "bearer", bearer=True)


def test_chunked_body_that_ends_before_its_last_chunk(service: Service, live: Pair) -> None:
    for body in (b'c\r\n{"name":"x"}\r\n', b'c\r\n{"name":"x"}\r\n0\r\n', b'40\r\n{"name":"x"}'):
        answer = create(service, live, JSON, CHUNKED, body=body)
        INVALID_REQUEST.check(answer, "bearer", bearer=True)


def test_a_body_that_is_longer_than_its_announced_length(service: Service, live: Pair) -> None:
    """The rest is the next request, and gets its own response."""
    body = encode({"name": "x"})
    first = wire(CREATE, *lines(live.bearer), JSON, length(body), body=body + b"GET /nowhere HTTP/")
    second = b"1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        connection.sendall(first + second)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 201 ")
    assert b"HTTP/1.1 401 " in received


# Bodies: what they say.


@pytest.mark.parametrize(
    "body",
    [
        b'{"name":"x","name":"x"}',
        b'{"name":"x","expires_at":NaN}',
        b'{"name":"x","expires_at":Infinity}',
        b'{"name":"x","expires_at":-Infinity}',
        b'{"name":"x",}',
        b'{"name":"x"}\x00',
        b'\xef\xbb\xbf{"name":"x"}',
        b'{"name":"\xff"}',
        b'{"name":"\xed\xa0\x80"}',
        '{"name":"x"}'.encode("utf-16"),
        b'{"name":' + b"9" * 5_000 + b"}",
        b'{"name":"x","metadata":{"a":1e400}}',
        b'{"name":"x","metadata":{"a":[-1.5E+999]}}',
        nested(8_000),
        nested(40),
        b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    ],
    ids=[
        "repeated",
        "nan",
        "infinity",
        "minus-infinity",
        "trailing-comma",
        "nul",
        "bom",
        "not-utf8",
        "encoded-surrogate",
        "utf16",
        "huge-integer",
        "infinite-number",
        "infinite-negative-number",
        "deep-arrays",
        "rather-deep-arrays",
        "deep-objects",
    ],
)
def test_a_body_that_is_not_strict_json(service: Service, live: Pair, body: bytes) -> None:
    answer = create(service, live, JSON, length(body), body=body)
    INVALID_REQUEST.check(answer, "bearer", bearer=True)
    answer = service.send_raw(wire("POST /credentials", JSON, length(body), body=body))
    INVALID_REQUEST.check(answer, "pair")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "json",
        "text/json",
        "application/json, text/plain",
        "application/json; charset=latin-1",
        "multipart/form-data; boundary=x",
        "\xff",
        "x" * 4_000,
    ],
)
def test_content_type_that_is_not_json(service: Service, live: Pair, content_type: str) -> None:
    body = encode({"name": "x"})
    answer = create(service, live, f"Content-Type: {content_type}", length(body), body=body)
    UNSUPPORTED_MEDIA_TYPE.check(answer, "bearer")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", 'application/json; charset="UTF-8"'],
)
def test_content_type_that_is_json(service: Service, live: Pair, content_type: str) -> None:
    body = encode({"name": "Ärger 🔑"})
    answer = create(service, live, f"Content-Type: {content_type}", length(body), body=body)
    assert (answer.status, answer.json["name"]) == (201, "Ärger 🔑")


def test_the_service_still_works_afterwards(service: Service, live: Pair) -> None:
    assert is_well(service, live)
