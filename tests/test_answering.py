"""How long a request occupies a thread: long responses, and slow or stalled clients."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException
from pathlib import Path
from threading import Event, Thread

import pytest

from latchkey_service.server.answering import LEAST, Answering, Deadline, _unread
from tests.support.console.visitor import Visitor, make_administrator
from tests.support.fastcache.fake_clock import Clock
from tests.support.faults.service_processes import wait_until, workers
from tests.support.service import Service

TIMEOUT = 2
ROWS = 30_000
EXPORT = "/console/audit/export"


class Connection:
    """A client with a small receive buffer, which reads the response in small parts."""

    def __init__(self, visitor: Visitor, path: str = EXPORT) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", visitor.service.port))
        cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookies}\r\n\r\n".encode()
        )
        self.received = self.socket.makefile("rb", buffering=256 * 1024)
        self.status = int(self.received.readline().split()[1])
        while self.received.readline() not in (b"\r\n", b""):
            pass

    def chunks(self) -> Iterator[bytes]:
        """The chunks of the body (RFC 9112 section 7.1), up to the last one."""
        while True:
            line = self.received.readline()
            size = int(line, 16)
            chunk = self.received.read(size)
            if len(chunk) < size or self.received.readline() != b"\r\n":
                raise HTTPException("the answer was cut off")
            if not size:
                return
            yield chunk

    def close(self) -> None:
        self.received.close()
        self.socket.close()


@pytest.fixture(scope="module")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Visitor:
    """An administrator, who signed in when the service had a longer timeout."""
    with Service(
        tmp_path_factory.mktemp("long"), LATCHKEY_WORKERS="1", LATCHKEY_THREADS="2"
    ) as service:
        make_administrator(service)
        visitor = Visitor(service)
        assert visitor.sign_in().status == 303
    return visitor


@pytest.fixture(scope="module")
def console(ada: Visitor) -> Iterator[Service]:
    """A service with one worker, two threads, a short timeout, and a long audit log."""
    ada.service.settings["LATCHKEY_REQUEST_TIMEOUT"] = str(TIMEOUT)
    with ada.service as service:
        with closing(sqlite3.connect(service.database)) as database, database:
            database.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n LIMIT ?)"
                "INSERT INTO audit (number, at, action, actor_kind, detail, mac)"
                "SELECT i, 0, 'key.change', 'nobody', printf('%.1000c', 'x'), '' FROM n",
                (ROWS,),
            )
        yield service


def memory_of(pid: int, name: str) -> int:
    """The kibibytes in a line of a process's status."""
    (line,) = [
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if name in line
    ]
    return int(line.split()[1])


def test_a_long_answer_is_not_cut_off(console: Service, ada: Visitor) -> None:
    (worker,) = workers(console)
    Path(f"/proc/{worker}/clear_refs").write_text("5")  # Reset VmHWM.
    before = memory_of(worker, "VmRSS")
    client = begin_export(ada)
    began, count, size, checkpoints = time.monotonic(), 0, 0, 0
    with closing(sqlite3.connect(console.database, timeout=60)) as database:
        for chunk in client.chunks():
            count += chunk.count(b"\n")
            size += len(chunk)
            # Slow enough for the response to take several timeouts on any machine.
            if time.monotonic() - began < 2.5 * TIMEOUT:
                time.sleep(0.02)
            if count // 10_000 > checkpoints:
                checkpoints += 1
                assert console.get("/health").status == 200
                # No snapshot is open, so the WAL can be checkpointed completely.
                busy, _, _ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                assert busy == 0
    client.close()
    assert time.monotonic() - began > 2 * TIMEOUT
    assert count >= ROWS
    assert checkpoints >= 2
    # Rows are read page by page, so the memory does not depend on the length of the log.
    assert memory_of(worker, "VmHWM") - before < size / 1024 / 2


def begin_export(visitor: Visitor, path: str = EXPORT) -> Connection:
    """Wait until the thread of an earlier export is free, and begin another one."""
    begun: list[Connection] = []

    def begins() -> bool:
        begun.append(Connection(visitor, path))
        if begun[-1].status == 200:
            return True
        begun.pop().close()
        return False

    wait_until(begins, "the place")
    return begun[0]


def test_every_row_is_complete(console: Service, ada: Visitor) -> None:
    with closing(begin_export(ada, f"{EXPORT}?action=key.change")) as client:
        body = b"".join(client.chunks())
    numbers = [json.loads(line)["number"] for line in body.splitlines()]
    assert numbers == list(range(1000, 1000 + ROWS))


def test_a_client_that_stops_reading_is_cut_off(console: Service, ada: Visitor) -> None:
    with closing(begin_export(ada)) as stopped:
        chunks = stopped.chunks()
        with reading(chunks):
            # One thread stays free for other requests, and is not used for another export.
            refused = ada.get(EXPORT)
            assert (refused.status, refused.headers["Retry-After"]) == (503, "10")
            assert "Other exports are in progress" in refused.text
            assert console.get("/health").status == 200
            assert ada.request("HEAD", EXPORT, None, {}).status == 503
        begin_export(ada).close()
        with pytest.raises((HTTPException, OSError, ValueError)):
            for _ in chunks:
                pass


@contextmanager
def reading(chunks: Iterator[bytes]) -> Iterator[None]:
    """Read some chunks during the block, in another thread, so that the client is not cut off."""
    over = Event()

    def read() -> None:
        while not over.wait(0.1):
            next(chunks)

    thread = Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_client_that_disconnects_frees_its_place(console: Service, ada: Visitor) -> None:
    for _ in range(4):
        begin_export(ada).close()


def test_a_failure_in_the_first_page_shows_an_error_page(console: Service, ada: Visitor) -> None:
    away = console.database.with_name("away.db")
    for _ in range(3):
        console.database.rename(away)
        try:
            # 503 until the thread of an earlier export is free.
            wait_until(lambda: ada.get(EXPORT).status == 500, "the failure")
        finally:
            away.rename(console.database)
    begin_export(ada).close()


# ---- The deadline itself, over real sockets and with a fake clock

Sockets = tuple[socket.socket, socket.socket]


def tcp() -> Sockets:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return listener.accept()[0], client


@pytest.fixture(params=[tcp, socket.socketpair], ids=["tcp", "unix"])
def sockets(request: pytest.FixtureRequest) -> Iterator[Sockets]:
    made: Sockets = request.param()
    for one in made:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    yield made
    for one in made:
        one.close()


class Served:
    """The parts of a connection that gunicorn passes on."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.client, self.server = sock, "client", "server"


def fill(served: socket.socket, answering: Answering) -> int:
    """Send until the buffers are full; returns the number of bytes."""
    served.setblocking(False)
    sent = 0
    while True:
        try:
            answering.sock.sendall(b"x" * 1024)
        except BlockingIOError:
            return sent
        sent += 1024


def test_the_deadline_moves_while_the_client_reads(sockets: Sockets) -> None:
    served, client = sockets
    clock = Clock()
    deadline = Deadline(10, clock)
    answering = Answering.of(Served(served), deadline)
    assert (answering.client, answering.server) == ("client", "server")
    assert answering.sock.fileno() == served.fileno()
    clock.tick(9)
    assert not deadline.has_passed(served)
    # The response starts. From now on, the deadline is about the client.
    assert fill(served, answering) > 4 * LEAST
    clock.tick(10)
    assert not deadline.has_passed(served)
    for _ in range(3):
        clock.tick(11)
        taken = 0
        while taken < 64 * 1024:
            taken += len(client.recv(64 * 1024))
            fill(served, answering)
        # Over TCP, the client's kernel confirms the bytes a moment later.
        wait_until(lambda: not deadline.has_passed(served), "the confirmation")
    clock.tick(9)
    assert not deadline.has_passed(served)
    # The client has read nothing since.
    clock.tick(2)
    assert deadline.has_passed(served)


def test_a_response_that_does_not_start_misses_the_deadline(sockets: Sockets) -> None:
    served, _ = sockets
    clock = Clock()
    deadline = Deadline(10, clock)
    clock.tick(10)
    assert not deadline.has_passed(served)
    clock.tick(1)
    assert deadline.has_passed(served)


def test_sent_data_arrives_unchanged(sockets: Sockets, tmp_path: Path) -> None:
    served, client = sockets
    deadline = Deadline(10)
    answering = Answering.of(Served(served), deadline)
    data = os.urandom(1_000_000)
    path = tmp_path / "file"
    path.write_bytes(data)
    received = bytearray()

    def exchange(send: Callable[[], object], size: int) -> None:
        sending = Thread(target=send)
        sending.start()
        received.clear()
        while len(received) < size:
            received.extend(client.recv(65536))
        sending.join()

    exchange(lambda: answering.sock.sendall(data), len(data))
    assert received == data
    with path.open("rb") as file:
        exchange(lambda: answering.sock.sendfile(file, 10, 500_000), 500_000)
        assert received == data[10:500_010]
        exchange(lambda: answering.sock.sendfile(file, 10), len(data) - 10)
        assert received == data[10:]


def test_a_response_that_waits_for_the_application_continues(sockets: Sockets) -> None:
    served, client = sockets
    clock = Clock()
    deadline = Deadline(10, clock)
    answering = Answering.of(Served(served), deadline)
    answering.sock.sendall(b"x")
    assert client.recv(10) == b"x"
    # Over TCP, the client's kernel confirms the bytes a moment later.
    wait_until(lambda: _unread(served) == 0, "the confirmation")
    for _ in range(3):
        clock.tick(11)
        assert not deadline.has_passed(served)
    fill(served, answering)
    clock.tick(11)
    # Bytes in the client's receive buffer count as read, once.
    deadline.has_passed(served)
    clock.tick(11)
    assert deadline.has_passed(served)


def test_a_closed_connection_is_left_to_its_thread(sockets: Sockets) -> None:
    served, client = sockets
    clock = Clock()
    deadline = Deadline(10, clock)
    Answering.of(Served(served), deadline).sock.sendall(b"x" * 2 * LEAST)
    client.close()
    served.close()
    clock.tick(11)
    assert not deadline.has_passed(served)
