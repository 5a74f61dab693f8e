"""Which connections occupy a thread, and how the server treats idle and slow ones."""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.faults.service_processes import is_alive, master, wait_until, workers
from tests.support.service import Service

# Much less than the timeout of requests here, and much more than a response takes.
_PATIENCE = 60.0
SOCKET = "latchkey.sock"
"""From the directory of the service: a longer path has no room in an address."""
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /console/sign-in HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
# Incomplete requests, by what is missing.
UNFINISHED = {
    b"": HEALTH,
    b"GET /hea": b"lth HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: local": b"host\r\n\r\n",
    b"\r": b"\n" + HEALTH,
    POST + b"Content-Length: 5\r\n\r\nna": b"me=",
    POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nna": b"me=\r\n0\r\n\r\n",
    POST + b"Content-Length: " + b"0" * 30 + b"5\r\n\r\nna": b"me=",
    POST + b"Transfer-Encoding: identity, chunked\r\n\r\n": b"5\r\nname=\r\n0\r\n\r\n",
    CHUNKED + b"0" * 30 + b"5\r\nna": b"me=\r\n0\r\n\r\n",
}
# More than the server waits for, of bodies that are incomplete.
ENDLESS = {
    "a chunk line": CHUNKED + b"5;" + b"a" * 2000,
    "extensions of chunks": CHUNKED + (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 140,
    "trailers": CHUNKED + b"1\r\nx\r\n0\r\n" + b"A: b\r\n" * 25_000,
}
EXPECTING = b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One worker with one thread, and a timeout of one hour."""
    directory = tmp_path_factory.mktemp("narrow")
    settings = {"LATCHKEY_WORKERS": "1", "LATCHKEY_THREADS": "1"}
    with Service(directory, False, LATCHKEY_REQUEST_TIMEOUT="3600", **settings) as running:
        yield running


def connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=_PATIENCE)


def connect_unix(path: Path) -> socket.socket:
    """A connection to a socket whose path may be too long for an address."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_PATIENCE)
    directory = os.open(path.parent, os.O_PATH)
    try:
        connection.connect(f"/proc/self/fd/{directory}/{path.name}")
    except OSError:
        connection.close()
        raise
    finally:
        os.close(directory)
    return connection


def status(connection: socket.socket) -> int:
    """The status of the next response, which is read completely."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65536)
        assert more, received
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    (length,) = [
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split()[1])


def ask(service: Service) -> int:
    with connect(service) as connection:
        connection.sendall(HEALTH)
        return status(connection)


def test_an_incomplete_request_occupies_no_thread(narrow: Service) -> None:
    with ExitStack() as stack:
        begun = {}
        for start in UNFINISHED:
            for _ in range(3):
                connection = stack.enter_context(connect(narrow))
                connection.sendall(start)
                begun[connection] = UNFINISHED[start]
        for _ in range(3):
            assert ask(narrow) == 200
        for connection, rest in begun.items():
            connection.sendall(rest)
            # The sign-in lacks its token. It was read, which is sufficient here.
            assert status(connection) in (200, 400)


@pytest.mark.parametrize("kind", ENDLESS)
def test_no_thread_waits_for_the_rest_of_a_body_that_is_too_large(
    narrow: Service, kind: str
) -> None:
    with ExitStack() as stack:
        begun = [stack.enter_context(connect(narrow)) for _ in range(3)]
        for connection in begun:
            connection.sendall(ENDLESS[kind])
        assert ask(narrow) == 200
        for connection in begun:
            assert status(connection) == 400
            assert connection.recv(1) == b""


def test_at_most_half_of_the_threads_wait_for_bodies_after_100_continue(
    start_service: Callable[..., Service],
) -> None:
    service = start_service(
        LATCHKEY_WORKERS="1", LATCHKEY_THREADS="4", LATCHKEY_REQUEST_TIMEOUT="3600"
    )
    asked = b"HTTP/1.1 100 Continue\r\n\r\n"
    with ExitStack() as stack:

        def expect() -> socket.socket:
            connection = stack.enter_context(connect(service))
            connection.sendall(POST + EXPECTING)
            return connection

        for _ in range(2):
            waiting = [expect() for _ in range(2)]
            for connection in waiting:
                assert connection.recv(len(asked), socket.MSG_WAITALL) == asked
            for _ in range(3):
                assert status(expect()) == 417
            assert ask(service) == 200
            for connection in waiting:
                connection.sendall(b"name=")
                # The connection is used again, and the thread too.
                assert status(connection) == 400
                connection.sendall(HEALTH)
                assert status(connection) == 200
    assert "Traceback" not in service.log


def test_a_request_byte_by_byte_and_two_at_once(narrow: Service) -> None:
    with connect(narrow) as connection:
        for byte in HEALTH:
            connection.sendall(bytes([byte]))
        assert status(connection) == 200
        # The second half of the last request arrives later, on a connection in use.
        connection.sendall(HEALTH + HEALTH[:20])
        assert status(connection) == 200
        assert ask(narrow) == 200
        connection.sendall(HEALTH[20:])
        assert status(connection) == 200


def test_a_client_that_does_not_close_delays_nobody(narrow: Service) -> None:
    with ExitStack() as stack:
        for _ in range(8):
            connection = stack.enter_context(connect(narrow))
            connection.sendall(HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert status(connection) == 200
        assert ask(narrow) == 200


def test_an_incomplete_request_times_out(start_service: Callable[..., Service]) -> None:
    service = start_service(LATCHKEY_WORKERS="1", LATCHKEY_REQUEST_TIMEOUT="1")
    for start in (b"GET /hea", POST + b"Content-Length: 5\r\n\r\nna"):
        with connect(service) as connection:
            connection.sendall(start)
            assert connection.recv(1) == b""


def test_a_low_limit_of_open_files(start_service: Callable[..., Service], tmp_path: Path) -> None:
    """More idle connections than the worker may have open, and no free file descriptor."""
    directory = tmp_path / "service"
    directory.mkdir()
    service = Service(directory, LATCHKEY_WORKERS="1", LATCHKEY_THREADS="2")
    service.initialize()
    service.prefix = ["prlimit", "--nofile=150:200"]
    with service, ExitStack() as stack:
        assert "the limit of open files is 200" in service.log
        (worker,) = workers(service)
        assert resource.prlimit(worker, resource.RLIMIT_NOFILE) == (200, 200)
        kept = stack.enter_context(connect(service))
        kept.sendall(HEALTH)
        assert status(kept) == 200
        for _ in range(260):
            stack.enter_context(connect(service))
        for _ in range(3):
            assert ask(service) == 200
        # A connection that sent nothing is closed before one between two requests.
        kept.sendall(HEALTH)
        assert status(kept) == 200

        opened = len(list(Path(f"/proc/{worker}/fd").iterdir()))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (opened, 200))
        for _ in range(20):
            stack.enter_context(connect(service))
        assert ask(service) == 200
        # Closing connections frees too few descriptors.
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (4, 200))
        refused = stack.enter_context(connect(service))
        refused.sendall(HEALTH)
        wait_until(lambda: "a connection could not be accepted" in service.log, "the shortage")
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (200, 200))
        assert ask(service) == 200
        assert workers(service) == [worker]
    assert "Traceback" not in service.log


def kill_master(service: Service) -> list[int]:
    """Kill the master as the kernel does when memory is short; returns the remaining workers."""
    orphans = workers(service)
    assert service.process is not None
    service.process.kill()
    service.process.wait(60)
    return orphans


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_start_after_the_master_was_killed(
    start_service: Callable[..., Service], kind: str
) -> None:
    service = start_service()
    path = service.directory / SOCKET
    if kind == "unix":
        service.stop()
        service.settings["LATCHKEY_BIND"] += f",unix:{SOCKET}"
        service.start()
    with ExitStack() as stack:
        for start in (b"", b"GET /hea", HEALTH):
            for _ in range(4):
                connection = stack.enter_context(connect(service))
                connection.sendall(start)
        # The first worker responds while the second is still starting.
        wait_until(lambda: len(workers(service)) == 2, "both workers")
        orphans = kill_master(service)
        begun = service.log.count("Listening at")
        # The remaining workers may still respond, so this returns before the new service listens.
        service.start()
        wait_until(lambda: service.log.count("Listening at") > begun, "the start")
        assert ask(service) == 200
        if kind == "unix":
            with connect_unix(path) as connection:
                connection.sendall(HEALTH)
                assert status(connection) == 200
    wait_until(lambda: not any(map(is_alive, orphans)), "the end of the former workers")
    wait_until(lambda: len(workers(service)) == 2, "the new workers")
    assert "Traceback" not in service.log


def test_workers_of_an_upgrade_survive_the_first_master(
    start_service: Callable[..., Service],
) -> None:
    """The second master is a child of the first: its parent changes, but not its workers' one."""
    service = start_service(LATCHKEY_WORKERS="1")
    path = service.directory / SOCKET
    service.stop()
    service.settings["LATCHKEY_BIND"] += f",unix:{SOCKET}"
    service.start()
    old, former = master(service), workers(service)
    os.kill(old, signal.SIGUSR2)
    wait_until(lambda: service.log.count("Listening at") == 3, "the second master")
    (new,) = set(workers(service)) - set(former)
    try:
        children = Path(f"/proc/{new}/task/{new}/children")
        wait_until(lambda: len(children.read_text().split()) == 1, "its worker")
        (worker,) = map(int, children.read_text().split())
        assert service.process is not None
        service.process.kill()
        service.process.wait(60)
        wait_until(lambda: "Master has been promoted" in service.log, "the promotion")
        wait_until(lambda: not is_alive(former[0]), "the end of the first worker")
        assert ask(service) == 200
        assert is_alive(worker)
        assert service.log.count("Parent changed") == 1
        assert path.is_socket()
    finally:
        service.process = None
        with suppress(ProcessLookupError):
            os.kill(new, signal.SIGTERM)
        wait_until(lambda: not is_alive(new), "the second master's end")
    assert not path.exists()
    assert "Traceback" not in service.log
