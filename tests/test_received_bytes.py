"""How gunicorn's parser reads the bytes that a worker received."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from gunicorn.config import Config

from latchkey_service.server.request_parser import ServedRequests

CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def requests() -> Iterator[ServedRequests]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ServedRequests(Config(), ours, "", threading.Semaphore(0))


def test_bytes_are_read_in_parts(requests: ServedRequests) -> None:
    """For each chunk, the parser copies all unread bytes: of a complete body, too many."""
    requests.unreader.give(b"x" * 100_000)
    parts = [requests.unreader.read() for _ in range(3)]
    assert max(map(len, parts)) <= 4096
    assert len(requests.unreader.read(50_000)) == 50_000


def test_the_rest_belongs_to_the_next_request(requests: ServedRequests) -> None:
    requests.unreader.give(b"x" * 10_000 + NEXT)
    assert requests.unreader.read(9_999) == b"x" * 9_999
    assert requests.unreader.take_buffered() == b"x" + NEXT
    assert requests.unreader.take_buffered() == b""


def test_a_body_of_many_chunks_is_complete(requests: ServedRequests) -> None:
    requests.unreader.give(CHUNKED + b"1\r\nx\r\n" * 5_000 + b"0\r\n\r\n" + NEXT)
    request = next(requests)
    assert request.body is not None
    assert request.body.read() == b"x" * 5_000
    assert requests.unreader.take_buffered() == NEXT
