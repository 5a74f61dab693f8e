"""Connections that are being closed: what is discarded, for how long, and what ends it."""

from __future__ import annotations

import selectors
import socket
import struct
from collections.abc import Iterator

import pytest

from latchkey_service.server.lingering import LONGEST, LONGEST_IDLE, MOST_BYTES, Lingering
from tests.support.auth.worker import Time

_PATIENCE = 20.0


class Closing:
    """One connection that is being closed, and the loop that would close it."""

    def __init__(self) -> None:
        self.timer = Time(1_000.0)
        self.poller = selectors.DefaultSelector()
        self.lingering = Lingering(self.poller, self.timer)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname(), timeout=_PATIENCE)
            self.served, _ = listener.accept()
        self.closed = 0

    def add(self) -> None:
        self.lingering.add(self.served, self._count)

    def _count(self) -> None:
        self.closed += 1

    def turn(self) -> None:
        """One turn of the loop, as gunicorn makes it."""
        for key, _ in self.poller.select(0.01):
            key.data(key.fileobj)
        self.lingering.close_late()

    def wait(self) -> None:
        for _ in range(round(_PATIENCE / 0.01)):
            self.turn()
            if self.closed:
                return
        pytest.fail("it is not closed")


@pytest.fixture
def closing() -> Iterator[Closing]:
    made = Closing()
    yield made
    made.client.close()
    made.served.close()
    made.poller.close()


def test_the_client_reads_the_answer_while_it_still_sends(closing: Closing) -> None:
    closing.served.sendall(b"answer")
    closing.add()
    for _ in range(50):
        closing.client.sendall(b"x" * 10_000)
        closing.turn()
    assert closing.client.recv(100) == b"answer"
    assert closing.client.recv(100) == b""
    assert closing.closed == 0
    closing.client.close()
    closing.wait()
    assert closing.closed == 1
    assert not closing.poller.get_map()


def test_one_that_has_ended_is_closed_at_once(closing: Closing) -> None:
    closing.client.shutdown(socket.SHUT_WR)
    closing.add()
    closing.wait()
    assert closing.client.recv(100) == b""


def test_one_that_is_gone_is_closed_at_once(closing: Closing) -> None:
    closing.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    closing.client.close()
    closing.add()
    closing.wait()
    assert closing.served.fileno() == -1
    assert not closing.poller.get_map()


def test_one_that_sends_nothing_is_closed_in_time(closing: Closing) -> None:
    closing.add()
    closing.timer.now += LONGEST_IDLE
    closing.turn()
    assert closing.closed == 0
    closing.timer.now += 0.1
    closing.turn()
    assert closing.closed == 1


def test_one_that_sends_without_end_is_closed_in_time(closing: Closing) -> None:
    closing.add()
    start = closing.timer.now
    while closing.timer.now - start < LONGEST:
        closing.client.sendall(b"x")
        # What arrived counts as a sign of life, once it is read.
        closing.poller.select(_PATIENCE)
        closing.turn()
        assert closing.closed == 0
        closing.timer.now += LONGEST_IDLE / 2
    closing.timer.now += 0.1
    closing.turn()
    assert closing.closed == 1


def test_one_that_sends_too_much_is_closed(closing: Closing) -> None:
    closing.add()
    chunk = memoryview(bytes(1024 * 1024))
    sent = 0
    closing.client.setblocking(False)
    while not closing.closed:
        try:
            sent += closing.client.send(chunk)
        except BlockingIOError:
            closing.turn()
    assert sent >= MOST_BYTES
    assert closing.served.fileno() == -1
    assert not closing.poller.get_map()
