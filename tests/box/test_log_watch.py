"""The thread that polls: at its turns, at notifications, and after faults of the connection."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from latchkey.box import log_watch as module
from latchkey.box.log_watch import LogWatch
from latchkey.box.poller import Poller
from latchkey.box.registration import Identity, Registration
from latchkey.box.shared import SharedState
from latchkey.errors import StoreError
from latchkey.store.memory.boxes import MemoryBoxStore
from latchkey.store.memory.state import MemoryDatabase
from latchkey.store.protocols import Wakeups
from tests.support.auth.worker import PATIENCE

Arrival = bool | Exception


class Connection:
    """Wakeups whose notifications and faults a test sends."""

    def __init__(self) -> None:
        self.arrivals: queue.Queue[Arrival] = queue.Queue()
        self.is_closed = False

    def wait(self, seconds: float) -> bool:
        try:
            arrived = self.arrivals.get(timeout=seconds)
        except queue.Empty:
            return False
        if isinstance(arrived, Exception):
            raise arrived
        return arrived

    def close(self) -> None:
        self.is_closed = True


class Boxes(MemoryBoxStore):
    """Boxes whose wake-ups a test decides about."""

    def __init__(self) -> None:
        super().__init__(MemoryDatabase())
        self.opened: queue.Queue[Connection] = queue.Queue()
        self.open: Callable[[], Wakeups | None] = self._open

    def _open(self) -> Wakeups:
        connection = Connection()
        self.opened.put(connection)
        return connection

    def open_wakeups(self) -> Wakeups | None:
        return self.open()


class Watch:
    """A thread that watches the log of a database; ``polls`` counts its polls."""

    def __init__(self) -> None:
        self.boxes = Boxes()
        self.shared = SharedState.private(leased=True)
        identity = Identity("box", "1", "memory", ("key",), 1, 5_000)
        registration = Registration(self.boxes, self.shared, identity)
        self.poller = Poller(self.boxes, self.shared, registration)
        self.watch = LogWatch(self.boxes, self.shared, self.poller)
        self.polls: queue.Queue[None] = queue.Queue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self.watch.run, args=(self._stopping, self.poll))
        self._thread.start()

    def poll(self) -> None:
        self.polls.put(None)

    def await_poll(self) -> None:
        self.polls.get(timeout=PATIENCE)

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(PATIENCE)
            assert not self._thread.is_alive()


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    watch.stop()


def test_it_polls_without_notifications(watch: Watch) -> None:
    watch.start()
    for _ in range(3):
        watch.await_poll()


def test_a_notification_causes_a_poll_at_once(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latchkey.box.poller.INTERVAL", 3_600 * 10**9)
    monkeypatch.setattr(module, "INTERVAL", 3_600 * 10**9)
    watch.start()
    connection = watch.boxes.opened.get(timeout=PATIENCE)
    watch.await_poll()
    for _ in range(3):
        connection.arrivals.put(True)
        watch.await_poll()
    watch._stopping.set()
    connection.arrivals.put(False)
    watch.stop()
    assert connection.is_closed


@pytest.mark.parametrize("fault", [StoreError("closed"), ValueError("closed")], ids=repr)
def test_a_lost_connection_is_opened_again(
    watch: Watch,
    fault: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "_RETRY", 0)
    caplog.set_level(logging.WARNING, "latchkey")
    watch.start()
    first = watch.boxes.opened.get(timeout=PATIENCE)
    first.arrivals.put(fault)
    second = watch.boxes.opened.get(timeout=PATIENCE)
    assert first.is_closed
    second.arrivals.put(True)
    watch.await_poll()
    assert caplog.text.count("changes are found by polling until listening succeeds") == 1


def test_it_polls_while_listening_fails(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_RETRY", 0)
    caplog.set_level(logging.WARNING, "latchkey")

    def fail() -> Wakeups | None:
        raise StoreError("no connection")

    listen, watch.boxes.open = watch.boxes.open, fail
    watch.start()
    for _ in range(3):
        watch.await_poll()
    watch.boxes.open = listen
    watch.boxes.opened.get(timeout=PATIENCE)
    watch.stop()
    assert caplog.text.count("changes are found by polling") == 1


def test_it_continues_to_poll_if_the_search_for_a_pooler_fails(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The database is lost just after no notification arrived."""
    monkeypatch.setattr(module, "_RETRY", 0)
    caplog.set_level(logging.WARNING, "latchkey")

    def fail() -> bool:
        raise StoreError("no connection")

    monkeypatch.setattr(watch.boxes, "is_pooled", fail)
    watch.boxes.open = lambda: None
    watch.start()
    for _ in range(3):
        watch.await_poll()
    watch.stop()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "changes are found by polling until listening succeeds: no connection"


@pytest.mark.parametrize("is_pooled", [False, True])
def test_missing_notifications_are_reported_once_unless_the_start_did(
    watch: Watch,
    is_pooled: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "_RETRY_IN_VAIN", 0)
    caplog.set_level(logging.WARNING, "latchkey")
    watch.boxes.open = lambda: None
    monkeypatch.setattr(watch.boxes, "is_pooled", lambda: is_pooled)
    watch.start()
    for _ in range(3):
        watch.await_poll()
    watch.stop()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == (0 if is_pooled else 1)
    for line in lines:
        assert "found by polling only, every 200 ms" in line
        assert "LATCHKEY_DATABASE_URL" in line
