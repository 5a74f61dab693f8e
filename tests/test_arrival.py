"""When a request is given to a thread: as soon as no part of it is missing."""

from __future__ import annotations

import pytest

from latchkey_service.server.arrival import MOST_BODY, Arrival

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

WHOLE = {
    "no body": GET + b"\r\n",
    "no headers": b"GET / HTTP/1.0\r\n\r\n",
    "an empty line first": b"\r\n" + GET + b"\r\n",
    "a body": POST + b"Content-Length: 4\r\n\r\nbody",
    "any case": POST + b"cOnTeNt-LeNgTh:\t4 \r\n\r\nbody",
    "an end of a head in a body": POST + b"Content-Length: 8\r\n\r\na\r\n\r\nbcd",
    "a length of many digits": POST + b"Content-Length: " + b"0" * 30 + b"4\r\n\r\nbody",
    "an empty body": POST + b"Content-Length: 0\r\n\r\n",
    "chunks": CHUNKED + b"4\r\nbody\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
    "a chunk's size of many digits": CHUNKED + b"0" * 30 + b"4\r\nbody\r\n0\r\n\r\n",
    "two codings": POST
    + b"Transfer-Encoding: gzip, identity\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "no chunks": CHUNKED + b"0\r\n\r\n",
    "trailers": CHUNKED + b"1\r\nx\r\n0;last\r\nDigest: 1\r\n\r\n",
    "a last chunk within a chunk": CHUNKED + b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
}
# Requests that gunicorn's parser answers or refuses before the rest arrives.
ENOUGH = {
    "no request line": b"hello\r\n",
    "another protocol": b"GET / FTP/1.1\r\n",
    "a bare line feed": GET + b"A: b\n",
    "a bare line feed first": b"\n",
    "a long request line": b"G" * 9000,
    "two lengths": POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n",
    "two framings": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
    "another coding": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "no length": POST + b"Content-Length: four\r\n\r\n",
    "an expectation": POST + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    "a long body": POST + b"Content-Length: 999999999\r\n\r\n",
    "no chunk": CHUNKED + b"body\r\n",
    "a long chunk line": CHUNKED + b"1" * 2000,
    "a long chunk": CHUNKED + b"fffff\r\n" + b"x" * (MOST_BODY + 1),
    "many chunks": CHUNKED + b"400\r\n" + (b"x" * 0x400 + b"\r\n400\r\n") * 129,
    "many trailers": CHUNKED + b"0\r\n" + b"A: b\r\n" * (MOST_BODY // 6 + 1),
    "many headers": GET + b"A: b\r\n" * 140_000,
}


def bytes_until_ready(data: bytes, step: int) -> int | None:
    """The number of bytes after which the request is ready; None if it never is."""
    arrival = Arrival()
    for start in range(0, len(data), step):
        if arrival.add(data[start : start + step]):
            assert bytes(arrival.data) == data[: start + step]
            return min(start + step, len(data))
    return None


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("step", [1, 2, 3, 7, 8192])
def test_a_complete_request_is_ready_with_its_last_byte(name: str, step: int) -> None:
    assert bytes_until_ready(WHOLE[name], step) == len(WHOLE[name])


@pytest.mark.parametrize("name", ENOUGH)
@pytest.mark.parametrize("step", [7, 8192])
def test_a_request_that_is_answered_early_is_ready_early(name: str, step: int) -> None:
    assert bytes_until_ready(ENOUGH[name], step) is not None


def test_bytes_after_a_request_are_kept() -> None:
    arrival = Arrival()
    assert arrival.add(WHOLE["a body"] + GET)
    assert arrival.data.endswith(b"body" + GET)
