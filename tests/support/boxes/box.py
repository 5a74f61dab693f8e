"""One box: a service in a place of its own, with a proxy before its database."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

from tests.support.boxes.asking import Client
from tests.support.boxes.places import Place, place_in
from tests.support.boxes.sockets import owner
from tests.support.boxes.tcp_proxy import TcpProxy
from tests.support.faults.service_processes import is_alive, is_stopped, master, wait_until, workers
from tests.support.service import Service


class Box(Service):
    """A service with its own directory, network and shared memory.

    ``upstream`` is the address of its database, which it reaches through ``proxy``; without one,
    the box has a SQLite database of its own, and no proxy. ``close`` it at the end.
    """

    def __init__(
        self,
        directory: Path,
        upstream: tuple[str, int] | None = None,
        *,
        apart: bool | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.place: Place = place_in(directory, apart=apart)
        host, port = self.place.service
        super().__init__(directory)
        self.settings |= {"LATCHKEY_BIND": f"{host}:{port}", **self.place.settings()}
        self.settings |= settings or {}
        self.port = port
        self._upstream = upstream
        self._proxy = None if upstream is None else TcpProxy(self.place.listen(), upstream)

    @property
    def proxy(self) -> TcpProxy:
        assert self._proxy is not None, "a box with SQLite has no proxy"
        return self._proxy

    @property
    def code(self) -> str:
        return self.place.code(self.directory)

    def connection(self, timeout: float) -> HTTPConnection:
        return _Connection(self.place, timeout)

    @property
    def is_initialized(self) -> bool:
        # A database that boxes share is initialized once, at one of them.
        return self._upstream is not None or super().is_initialized

    def initialize(self) -> str:
        return super().initialize() if self._upstream is None else self._prepare("init")

    def _prepare(self, *arguments: str) -> str:
        # Only a process within the place reaches the memory and the database of the box.
        return self.command(*arguments).stdout

    def close(self) -> None:
        """Stop the service, the proxy and the place; nothing of them is left."""
        try:
            self.resume()
            if self._proxy is not None:
                self._proxy.heal()
            self.stop()
        finally:
            if self._proxy is not None:
                self._proxy.close()
            self.place.close()

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ---- its processes

    def pids(self) -> list[int]:
        """The master and the workers."""
        return [master(self), *workers(self)]

    def pause(self, pids: list[int]) -> None:
        """Stop processes of the box by SIGSTOP, and wait until they have stopped."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: all(is_stopped(pid) or not is_alive(pid) for pid in pids), "the stop")

    def resume(self) -> None:
        """Continue all processes of the box."""
        if self.process is None or self.process.poll() is not None:
            return
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    @contextmanager
    def paused(self, pids: list[int]) -> Iterator[None]:
        """Stop processes of the box during the block."""
        try:
            self.pause(pids)
            yield
        finally:
            self.resume()

    def worker_at_database(self, peer: tuple[str, int]) -> int | None:
        """The worker with the connection to the proxy that comes from an address of the box."""
        return owner(workers(self), peer[1], self.place.database[1])

    def clients(self, timeout: float = 60.0) -> list[Client]:
        """A client for each worker, connected to it."""
        missing = set(workers(self))
        found: list[Client] = []
        others: list[Client] = []
        try:
            while missing:
                client = Client(self.place, timeout)
                pid = self._worker_of(client)
                (found if pid in missing else others).append(client)
                missing.discard(pid)
        finally:
            for client in others:
                client.close()
        return found

    def _worker_of(self, client: Client) -> int:
        """The worker that has accepted the connection of a client."""
        port = client.connected()
        found: list[int] = []

        def is_accepted() -> bool:
            pid = owner(workers(self), self.port, port)
            found.extend([] if pid is None else [pid])
            return bool(found)

        wait_until(is_accepted, "a worker that accepts the connection")
        return found[0]


class _Connection(HTTPConnection):
    """A connection in the network of a place."""

    def __init__(self, place: Place, timeout: float) -> None:
        super().__init__(*place.service, timeout=timeout)
        self._place = place
        self._seconds = timeout

    def connect(self) -> None:
        self.sock: socket.socket = self._place.connect(self._seconds)
