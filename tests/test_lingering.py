"""Lingering close: discarded bytes, time limits, and how it ends."""

from __future__ import annotations

import selectors
import socket
import struct
from collections.abc import Iterator

import pytest

from latchkey_service.server.lingering import LONGEST, LONGEST_IDLE, MOST_BYTES, Lingering
from tests.support.auth.worker import Time

_PATIENCE = 60.0


class Closing:
    """A connection that is being closed, and the loop that closes it."""

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
        """One iteration of the loop, as in gunicorn."""
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


def test_a_client_that_still_sends_can_read_the_response(closing: Closing) -> None:
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


def test_a_connection_that_the_client_closed_is_closed_immediately(closing: Closing) -> None:
    closing.client.shutdown(socket.SHUT_WR)
    closing.add()
    closing.wait()
    assert closing.client.recv(100) == b""


def test_a_reset_connection_is_closed_immediately(closing: Closing) -> None:
    closing.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    closing.client.close()
    closing.add()
    closing.wait()
    assert closing.served.fileno() == -1
    assert not closing.poller.get_map()


def test_a_silent_connection_times_out(closing: Closing) -> None:
    closing.add()
    closing.timer.now += LONGEST_IDLE
    closing.turn()
    assert closing.closed == 0
    closing.timer.now += 0.1
    closing.turn()
    assert closing.closed == 1


def test_a_client_that_never_stops_sending_times_out(closing: Closing) -> None:
    closing.add()
    start = closing.timer.now
    while closing.timer.now - start < LONGEST:
        closing.client.sendall(b"x")
        # Received bytes extend the idle deadline once they are read.
        closing.poller.select(_PATIENCE)
        closing.turn()
        assert closing.closed == 0
        closing.timer.now += LONGEST_IDLE / 2
    closing.timer.now += 0.1
    closing.turn()
    assert closing.closed == 1


def test_a_client_that_sends_too_much_is_disconnected(closing: Closing) -> None:
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
