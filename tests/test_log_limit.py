"""Log lines that clients can cause: some of each kind are written, the others counted."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from latchkey.log_limit import MOST, SPAN, LogLimit
from tests.support.api.contract import encode, wire
from tests.support.auth.worker import Time
from tests.support.faults.service_processes import wait_until
from tests.support.service import Service

COUNTED = re.compile(r"(\d+) more lines? like: ")


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Limited:
    """A logger with its own limit and a fake clock."""

    def __init__(self) -> None:
        self.timer = Time(1_000.0)
        self.limit = LogLimit(self.timer)
        self.log = logging.getLogger("tests.limited")
        self.log.setLevel(logging.INFO)
        self.log.propagate = False
        self.handler = Lines()
        self.log.addHandler(self.handler)
        self.log.addFilter(self.limit)

    @property
    def lines(self) -> list[str]:
        return self.handler.lines


@pytest.fixture
def limited() -> Iterator[Limited]:
    made = Limited()
    yield made
    made.log.removeHandler(made.handler)
    made.log.removeFilter(made.limit)


def test_a_limited_number_of_lines_of_a_kind_then_a_count(limited: Limited) -> None:
    for number in range(1_000):
        limited.log.warning("refused: %s", number)
    assert limited.lines == [f"refused: {number}" for number in range(MOST)]
    limited.timer.now += SPAN
    limited.log.warning("refused: %s", "next")
    assert limited.lines[MOST:] == [
        f"{1_000 - MOST} more lines like: refused: 999",
        "refused: next",
    ]
    # A period without suppressed lines has no count.
    limited.timer.now += SPAN
    limited.log.warning("refused: %s", "again")
    assert limited.lines[-1:] == ["refused: again"]
    assert len(limited.lines) == MOST + 3


def test_a_count_is_written_if_no_other_line_follows(limited: Limited) -> None:
    for _ in range(MOST + 1):
        limited.log.warning("refused")
    limited.limit.report()
    assert len(limited.lines) == MOST
    limited.timer.now += SPAN
    limited.limit.report()
    limited.limit.report()
    assert limited.lines[MOST:] == ["1 more line like: refused"]


def test_kinds_are_counted_separately(limited: Limited) -> None:
    for _ in range(MOST + 5):
        limited.log.info("one")
        limited.log.info("other")
        limited.log.error("one")
        for error in (ValueError("x"), KeyError("x")):
            try:
                raise error
            except (ValueError, KeyError):
                limited.log.exception("failed")
    assert len(limited.lines) == 5 * MOST
    limited.limit.report(all_of_them=True)
    assert sorted(limited.lines[5 * MOST :]) == [
        *["5 more lines like: failed"] * 2,
        *["5 more lines like: one"] * 2,
        "5 more lines like: other",
    ]


def test_the_number_of_kinds_is_limited(limited: Limited) -> None:
    for number in range(10_000):
        limited.log.warning(f"kind {number}")  # noqa: G004 - as careless code would
    assert len(limited.lines) < 300


def test_a_child_starts_with_its_own_counts(limited: Limited) -> None:
    for _ in range(MOST + 5):
        limited.log.warning("refused")
    child = os.fork()
    if child == 0:
        limited.limit.report(all_of_them=True)
        limited.log.warning("refused")
        os._exit(len(limited.lines))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == MOST + 1


def flood(service: Service, data: bytes, times: int) -> None:
    """Send the same bytes on many connections."""

    def send(_: int) -> None:
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
            connection.sendall(data)
            assert connection.recv(65536)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(times)))


def written_and_counted(service: Service, words: str) -> tuple[int, int]:
    """How many lines contain these words, and how many more the counts report."""
    lines = [line for line in service.log.splitlines() if words in line]
    counts = [int(found[1]) for found in map(COUNTED.search, lines) if found]
    return len(lines), len(lines) - len(counts) + sum(counts)


TIMES = 400


def test_refused_requests_are_counted_in_the_log(start_service: Callable[..., Service]) -> None:
    service = start_service(LATCHKEY_WORKERS="1")
    flood(service, b"nonsense\r\n\r\n", TIMES)
    service.stop()
    lines, counted = written_and_counted(service, "refused to parse a request: ")
    assert counted == TIMES
    assert lines < TIMES / 4


def test_failures_of_the_database_are_counted_in_the_log(
    start_service: Callable[..., Service],
) -> None:
    """On routes that need no credential."""
    service = start_service(LATCHKEY_WORKERS="1")
    pair = service.derive_pair()
    away = service.database.with_suffix(".away")
    service.database.rename(away)
    body = encode(vars(pair))
    headers = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    for request, words in (
        (wire("GET /ready"), "not ready: "),
        (wire("POST /credentials", *headers, body=body), "database failure: "),
    ):
        flood(service, request, 60)
        wait_until(lambda words=words: words in service.log, "the first line")  # type: ignore[misc]
    away.rename(service.database)
    service.stop()
    for words in ("not ready: ", "database failure: "):
        lines, counted = written_and_counted(service, words)
        assert counted == 60, words
        assert lines <= 2 * (MOST + 1), words


def test_at_the_debug_level_no_request_is_quoted(start_service: Callable[..., Service]) -> None:
    """A token of another system has no form that the redaction could recognise."""
    service = start_service(LATCHKEY_WORKERS="1", LATCHKEY_LOG_LEVEL="debug")
    token = "opaque-token-of-another-system"
    head = f"GET /v1/account HTTP/1.1\r\nAuthorization: Bearer {token}\r\n".encode()
    for data in (head, head[:60], head + b"\r\n", head + b"Content-Length: 9\r\n\r\n" + b"{"):
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    service.stop()
    assert "premature client disconnection" in service.log
    assert "opaque" not in service.log
