"""The gunicorn worker: its requests have deadlines, and it answers what it refuses by itself."""

from __future__ import annotations

import socket
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from gunicorn.http.message import Message, Request
from gunicorn.workers.gthread import TConn, ThreadWorker

from app.answering import Answering, Deadline
from app.errors import InternalError
from app.lingering import Lingering
from app.log_limit import LOG_LIMIT, limit_log
from app.refusals import message_of, refusal, send_refusal
from app.request_parser import ServedRequests
from app.service_log import GUNICORNS, OURS


class EnvelopeWorker(ThreadWorker):
    """A threaded worker whose own refusals are answered in the envelope, and logged by kind only.

    gunicorn would quote the offending header to the log, and that may hold a secret.

    A request that misses its deadline is cut off, since each holds a thread: see app/answering.py.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadlines: dict[TConn, Deadline] = {}
        server: Any = self.app
        self._request_timeout: float = server.settings.request_timeout

    def handle(self, conn: TConn) -> bool:
        """Called by gunicorn in a thread, for each request on a connection."""
        self._deadlines[conn] = Deadline(self._request_timeout)
        if conn.parser is None:
            conn.parser = ServedRequests(self.cfg, conn.sock, conn.client)
        try:
            return super().handle(conn)
        finally:
            self._deadlines.pop(conn, None)

    def handle_request(self, req: Request, conn: TConn) -> bool:
        """Called by gunicorn in a thread, when the head of a request has been read."""
        # All that gunicorn needs of a connection here.
        answering: Any = Answering.of(conn, self._deadlines[conn])
        return super().handle_request(req, answering)

    def run(self) -> None:
        """Called by gunicorn in the main thread: accept and hand over until the end."""
        self._lingering = Lingering(self.poller)
        for logger in (OURS, GUNICORNS):
            limit_log(logger)
        try:
            super().run()
        finally:
            LOG_LIMIT.report(all_of_them=True)

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Called by gunicorn in the main thread when ``handle`` has returned."""
        if fs.cancelled() or fs.exception() is not None or fs.result():
            super().finish_request(conn, fs)
        else:
            # gunicorn would wait here for the client, and nobody else would be served meanwhile.
            self._lingering.add(conn.sock, self._forget)

    def _forget(self) -> None:
        """One connection fewer."""
        self.nr_conns -= 1

    def notify(self) -> None:
        """Called by gunicorn at least once a second, in the main thread."""
        super().notify()
        self._lingering.close_late()
        for conn, deadline in list(self._deadlines.items()):
            if deadline.has_passed(conn.sock):
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)

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
                # A body found broken after its request had been answered: only close.
                return
        try:
            send_refusal(client, error, req or message_of(exc.__traceback__))
        except OSError:
            self.log.debug("the client left before it was answered")
