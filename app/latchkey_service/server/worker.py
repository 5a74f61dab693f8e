"""The gunicorn worker: accepts connections, and gives a thread only to requests that arrived."""

from __future__ import annotations

import errno
import selectors
import socket
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, cast

from gunicorn.config import Config
from gunicorn.http.message import Message, Request
from gunicorn.workers.gthread import TConn, ThreadWorker

from latchkey.errors import InternalError
from latchkey.log_limit import LOG_LIMIT, limit_log
from latchkey_service.server.answering import Answering, Deadline
from latchkey_service.server.arrival import Arrival
from latchkey_service.server.lingering import Lingering
from latchkey_service.server.refusals import message_of, refusal, send_refusal
from latchkey_service.server.request_parser import ServedRequests
from latchkey_service.server.service_log import GUNICORNS, OURS

_RECEIVED_AT_ONCE = 8192
# An unread body is discarded if it arrives in this time; otherwise, the connection is closed.
_DRAIN_TIMEOUT = 0.05
# While a worker stops, a client may already be sending its next request.
_STOP_LINGER = 2.0
# The most bytes of incomplete requests, of all connections of a worker together.
_MOST_WAITING = 32 << 20
_CROWDED_PAUSE = 1.0
_CROWDED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# Errors of accept() on Linux for a connection that failed while it was queued.
_FAILED_BEFORE = (
    *(errno.EAGAIN, errno.EINTR, errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENOPROTOOPT),
    *(errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EOPNOTSUPP),
)


class _Queue:
    """Connections in the order of their timeouts, with the deque methods that gunicorn uses."""

    def __init__(self) -> None:
        self._connections: OrderedDict[_Connection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[_Connection]:
        return iter(self._connections)

    def __getitem__(self, index: int) -> _Connection:
        if index:
            raise IndexError("only the first connection can be read")
        return next(iter(self._connections))

    def append(self, connection: _Connection) -> None:
        self._connections[connection] = None

    def remove(self, connection: _Connection) -> None:
        del self._connections[connection]

    def popleft(self) -> _Connection:
        return self._connections.popitem(last=False)[0]


class _Connection(TConn):
    """A connection, and the received bytes of its next request."""

    parser: Any
    timeout: float

    def __init__(self, cfg: Config, client: socket.socket, address: Any, server: Any) -> None:
        super().__init__(cfg, client, address, server)
        self.timeout = 0.0
        # A thread only gets readable connections, so gunicorn does not need to wait.
        self.data_ready = True
        self.queue: _Queue | None = None
        self.arrival: Arrival | None = None
        self.deadline = Deadline(0.0)

    def take_arrival(self) -> bytes:
        """Return and clear the received bytes of the request."""
        data = b"" if self.arrival is None else bytes(self.arrival.data)
        self.arrival = None
        return data


class EnvelopeWorker(ThreadWorker):
    """A threaded worker that answers invalid requests with the error envelope.

    Refusals are logged by kind only: gunicorn would quote the invalid header, which may contain a
    secret.

    A connection waits in the poller, without a thread, until its request has arrived. A request
    that misses its deadline is cut off: see answering.py. ``handle`` and ``handle_error`` run in
    the threads of the pool, all other methods in the main thread.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        server: Any = self.app
        self._request_timeout: float = server.settings.request_timeout
        self._deadlines: dict[_Connection, Deadline] = {}
        self._most_connections = self.worker_connections
        self._crowded_until = 0.0
        self._waiting_bytes = 0
        # The other threads never wait for clients that send ``Expect: 100-continue``.
        self._body_waits = threading.Semaphore(self.cfg.threads // 2)
        self._kept = _Queue()  # between two requests; also read by gunicorn's own loop
        self.keepalived_conns = cast("deque[TConn]", self._kept)
        self._quiet = _Queue()  # accepted, but nothing received yet
        self._arriving = _Queue()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Called by gunicorn in a new worker, which must not start unless all threads do."""
        pool = super().get_thread_pool()
        begun = threading.Event()
        for _ in range(self.cfg.threads):
            pool.submit(begun.wait)
        begun.set()
        return pool

    def handle_request(self, req: Request, conn: TConn) -> bool:
        """Called by gunicorn in a thread, when the head of a request has been read."""
        # The parts of a connection that gunicorn needs here.
        answering: Any = Answering.of(conn, cast("_Connection", conn).deadline)
        return super().handle_request(req, answering)

    def run(self) -> None:
        """Called by gunicorn in the main thread: accept connections until the worker stops."""
        self._lingering = Lingering(self.poller)
        for logger in (OURS, GUNICORNS):
            limit_log(logger)
        try:
            super().run()
        finally:
            LOG_LIMIT.report(all_of_them=True)

    # Accepting.

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection. A failure never stops the worker."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in _CROWDED:
                self._be_crowded(error)
            elif error.errno not in _FAILED_BEFORE:
                raise
            return
        if not isinstance(address, tuple):
            # The client of a unix socket chooses this name, so it must not count as an address.
            address = ""
        self.nr_conns += 1
        connection = _Connection(self.cfg, client, address, listener.getsockname())
        self._receive(connection)
        if self.nr_conns >= self.worker_connections:
            self._make_room()

    def _be_crowded(self, error: OSError) -> None:
        """Handle a lack of file descriptors or memory: close an idle connection, or pause."""
        if time.monotonic() > self._crowded_until:
            self.log.warning("a connection could not be accepted: %s", error.strerror)
        self._crowded_until = time.monotonic() + _CROWDED_PAUSE
        if not self._make_room():
            # gunicorn's loop does not accept connections until one is closed.
            self.worker_connections = min(self.worker_connections, self.nr_conns)

    def _make_room(self) -> bool:
        """Close the least important connection without a thread; returns whether there was one."""
        if self._lingering.close_oldest():
            return True
        for queue in (self._quiet, self._kept, self._arriving):
            if queue:
                self._drop(queue[0])
                return True
        return False

    def set_accept_enabled(self, enabled: bool | None) -> None:
        """Called by gunicorn's loop. A stopping worker closes its listening sockets immediately.

        They would keep the address in use while the worker answers the remaining requests.
        """
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                listener.close()

    def is_parent_alive(self) -> bool:
        """Called by gunicorn at least once a second. Without a master, the worker stops."""
        if super().is_parent_alive():
            return True
        self.alive = False
        self.set_accept_enabled(False)
        return False

    # Waiting, without a thread.

    def _wait(self, connection: _Connection, queue: _Queue, seconds: float) -> None:
        """Have the poller watch the connection; it is closed if nothing arrives in time."""
        connection.timeout = time.monotonic() + seconds
        if connection.queue is None:
            try:
                self.poller.register(
                    connection.sock, selectors.EVENT_READ, partial(self._on_readable, connection)
                )
            except (OSError, ValueError):
                self._drop(connection)
                return
        else:
            connection.queue.remove(connection)
        connection.queue = queue
        queue.append(connection)

    def _forget(self, connection: _Connection) -> None:
        """Remove the connection from the poller and its queue."""
        if connection.queue is not None:
            connection.queue.remove(connection)
            connection.queue = None
            with suppress(OSError, KeyError, ValueError):
                self.poller.unregister(connection.sock)
        if connection.arrival is not None:
            self._waiting_bytes -= len(connection.arrival.data)

    def _drop(self, connection: _Connection) -> None:
        self._forget(connection)
        connection.arrival = None
        self.nr_conns -= 1
        connection.close()

    def _on_readable(self, connection: _Connection, client: socket.socket) -> None:
        # Without a queue, it was closed to make room after the poller had reported it.
        if connection.queue is not None:
            self._receive(connection)

    def _receive(self, connection: _Connection) -> None:
        """Read the received bytes, and give the request to a thread if it is complete."""
        try:
            received = connection.sock.recv(_RECEIVED_AT_ONCE)
        except (BlockingIOError, InterruptedError):
            if connection.queue is None:
                self._wait(connection, self._quiet, self.cfg.keepalive)
            return
        except OSError:
            self._drop(connection)
            return
        if received:
            self._take(connection, received)
        elif connection.arrival is not None:
            # The client stopped within a request: the parser decides on the response.
            self._hand_over(connection)
        else:
            self._drop(connection)

    def _take(self, connection: _Connection, received: bytes) -> None:
        arrival = connection.arrival
        is_new = arrival is None
        if arrival is None:
            arrival = connection.arrival = Arrival()
            connection.deadline = Deadline(self._request_timeout)
        self._waiting_bytes += len(received)
        if arrival.add(received):
            self._hand_over(connection)
            return
        if is_new:
            self._wait(connection, self._arriving, self._request_timeout)
        while self._waiting_bytes > _MOST_WAITING and self._arriving:
            self._drop(self._arriving[0])

    def _hand_over(self, connection: _Connection) -> None:
        self._forget(connection)
        self.enqueue_req(connection)

    def murder_pending(self) -> None:
        """Called by gunicorn at least once a second: close connections that timed out."""
        now = time.monotonic()
        for queue in (self._quiet, self._arriving):
            while queue and queue[0].timeout <= now:
                self._drop(queue[0])

    def murder_keepalived(self, force: bool = False) -> None:
        """The same for connections between two requests; ``force`` closes all of them."""
        now = time.monotonic()
        while self._kept and (force or self._kept[0].timeout <= now):
            self._drop(self._kept[0])

    def _cap_keepalive(self, deadline: float) -> None:
        """Called by gunicorn when the worker begins to stop."""
        for queue in (self._kept, self._quiet):
            for connection in queue:
                connection.timeout = min(connection.timeout, deadline)

    # After the answer.

    def finish_request(self, conn: TConn, fs: Future[bool]) -> None:
        """Called in the main thread when ``handle`` has returned."""
        connection = cast("_Connection", conn)
        if fs.cancelled() or fs.exception() is not None or not fs.result():
            # gunicorn would wait here for the client, and block all other connections.
            self._lingering.add(connection.sock, self._count_closed)
            return
        connection.sock.setblocking(False)
        # The parser may have read bytes of the next request.
        following = connection.parser.unreader.take_buffered()
        if following:
            self._take(connection, following)
        else:
            seconds = self.cfg.keepalive if self.alive else _STOP_LINGER
            self._wait(connection, self._kept, seconds)

    def _count_closed(self) -> None:
        """Count a closed connection."""
        self.nr_conns -= 1

    # In a thread.

    def handle(self, conn: TConn) -> bool:
        """Answer a request that has arrived; returns whether to keep the connection."""
        connection = cast("_Connection", conn)
        self._deadlines[connection] = connection.deadline
        if connection.parser is None:
            connection.parser = ServedRequests(
                self.cfg, connection.sock, connection.client, self._body_waits
            )
        try:
            connection.init()
            connection.parser.unreader.give(connection.take_arrival())
            return bool(super().handle(connection))
        finally:
            connection.parser.unreader.end_to_wait()
            self._deadlines.pop(connection, None)

    def _keepalive_after(self, conn: _Connection, keepalive: bool) -> bool:
        """Called by gunicorn after the response. It does not wait for an unread body."""
        deadline = time.monotonic() + _DRAIN_TIMEOUT
        return keepalive and bool(conn.parser.finish_body(deadline=deadline))

    def notify(self) -> None:
        """Called by gunicorn at least once a second."""
        super().notify()
        self._lingering.close_late()
        now = time.monotonic()
        for connection, deadline in list(self._deadlines.items()):
            if deadline.has_passed(connection.sock):
                with suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
        if now > self._crowded_until:
            self.worker_connections = self._most_connections

    def handle_error(
        self, req: Message | None, client: socket.socket, addr: Any, exc: BaseException
    ) -> None:
        """Answer a request that could not be parsed, or whose handling failed outside Flask."""
        error = refusal(exc)
        if isinstance(error, InternalError):
            self.log.error("a request failed outside the application", exc_info=exc)
        else:
            self.log.info("refused to parse a request: %s", type(exc).__name__)
            if req is not None:
                # The body turned out to be invalid after the response was sent: only close.
                return
        try:
            send_refusal(client, error, req or message_of(exc.__traceback__))
        except OSError:
            self.log.debug("the client closed the connection before the response was sent")
