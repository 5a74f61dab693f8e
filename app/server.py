"""The server: gunicorn's settings and hooks, and a worker that answers what it refuses to parse.

The master prepares the database in a child process before it forks; each worker builds its own
application afterwards, so no connection and no lock crosses a fork.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, cast

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http import errors as http_errors
from gunicorn.http.message import Message
from gunicorn.workers.gthread import TConn, ThreadWorker

# Loaded once, before the fork, for all workers.
import app.api.routes
import app.console.mount  # noqa: F401
from app import create_app
from app.assembly import Latchkey
from app.auth.headers import dialect_of_path
from app.config import Settings
from app.credentials.derivation import DerivationKeys
from app.credentials.importing import IMPORTED
from app.credentials.tokens import redact_secrets
from app.derivation import load_derivation
from app.errors import (
    ApiError,
    ConfigurationError,
    HeadersTooLarge,
    InternalError,
    InvalidRequest,
    StoreError,
    envelope,
    error_headers,
    status_line,
)
from app.key_files import make_audit_key_file
from app.segment import ServiceSegment
from app.store.migrate import MigrationReport, migrate_in_child
from fastcache import SegmentError

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - only for gunicorn's heartbeat files
_SEND_TIMEOUT = 2.0
# Kinds of ParseException, by their class, that are about what the application sent.
_OUR_FAULTS = (
    http_errors.InvalidResponseHeader,  # type: ignore[attr-defined]
    http_errors.InvalidResponseHeaderName,  # type: ignore[attr-defined]
)
_KEEPALIVE = 30


def serve(settings: Settings) -> None:
    """Prepare the database, then run gunicorn in the foreground until it is told to stop.

    Raises ConfigurationError where the start cannot succeed.
    """
    derivation = load_derivation(settings)
    report = migrate_in_child(settings.database_url)
    make_audit_key_file(settings, report.audit_rows)
    segment = ServiceSegment.open(settings)
    master = os.getpid()
    try:
        _Server(settings, derivation, report, segment).run()
    finally:
        # However the run ended, also where it never listened; the workers come by here too.
        if os.getpid() == master:
            _let_go(segment)


def _let_go(segment: ServiceSegment) -> None:
    """For the master, when no worker is left."""
    try:
        segment.close()
    except (StoreError, SegmentError) as error:
        log = logging.getLogger("latchkey")
        log.error("the shared memory is left for the next start: %s", error)


class _Server(BaseApplication):
    """gunicorn, told everything by our settings and nothing by its own files or environment."""

    def __init__(
        self,
        settings: Settings,
        derivation: DerivationKeys,
        report: MigrationReport,
        segment: ServiceSegment,
    ) -> None:
        self.settings = settings
        self._derivation = derivation
        self._report = report
        self._segment = segment
        self._latchkey: Latchkey | None = None
        super().__init__(prog="latchkey")

    def load_config(self) -> None:
        """Called by gunicorn at the start and at each HUP."""
        settings = self.settings
        for name, value in {
            "bind": settings.bind,
            "workers": settings.workers,
            "threads": settings.threads,
            "worker_class": EnvelopeWorker,
            "logger_class": RedactingLogger,
            "loglevel": settings.log_level,
            "accesslog": None,
            "proc_name": "latchkey",
            "keepalive": _KEEPALIVE,
            # Headers from outside set nothing in the environ but HTTP_ names.
            "forwarder_headers": "",
            "forwarded_allow_ips": "",
            "control_socket_disable": True,
            "http_parser": "python",
            "worker_tmp_dir": _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None,
            "on_starting": self._report_start,
            "when_ready": _freeze_what_is_loaded,
            "nworkers_changed": self._keep_to_one,
            "worker_exit": self._end_worker,
            "pre_request": _say_nothing,
        }.items():
            self.cfg.set(name, value)

    def reload(self) -> None:
        """Called at each HUP: read the key file again, and keep what is in use if it is broken.

        Only here, for all workers to come: were each to read it, they could disagree.
        """
        log = logging.getLogger("latchkey")
        try:
            derivation = load_derivation(self.settings)
            self._report = migrate_in_child(self.settings.database_url)
        except ConfigurationError as error:
            log.error("the settings in use are kept: %s", error)
        else:
            self._derivation = derivation
            self._report_credentials(log)
        super().reload()

    def load(self) -> Any:
        """The WSGI application; called in each worker, after the fork."""
        shared = self._segment.for_worker()
        app = create_app(self.settings, derivation=self._derivation, shared=shared, migrate=False)
        latchkey: Latchkey = app.extensions["latchkey"]
        latchkey.upkeep.start()
        self._latchkey = latchkey
        return app

    def _end_worker(self, arbiter: Arbiter, worker: object) -> None:
        """Called in a worker at its end, when its requests are answered."""
        if self._latchkey is not None:
            self._latchkey.upkeep.stop()

    def _keep_to_one(self, arbiter: Arbiter, count: int, before: int | None) -> None:
        """Called when the number of workers changes: without shared memory there is one."""
        if count > 1 and self._segment.is_private:
            cast(Logger, arbiter.log).error("no shared memory, so there can be one worker only")
            arbiter.num_workers = 1

    def _report_start(self, arbiter: Arbiter) -> None:
        log = cast(Logger, arbiter.log)
        if self._segment.warning is not None:
            log.warning(self._segment.warning)
        if self._report.created:
            log.info("made a new database, %s", self.settings.database_url)
        self._report_credentials(log)

    def _report_credentials(self, log: Logger | logging.Logger) -> None:
        """How many credentials are active, and how many the listed keys no longer vouch for."""
        active = self._report.active_by_derivation
        # No key made what was imported.
        vouched = self._derivation.ids | {IMPORTED}
        ended = sum(count for key, count in active.items() if key not in vouched)
        log.info("%d active credentials", sum(active.values()) - ended)
        if ended:
            log.warning(
                "%d active credentials were made with derivation keys that are no longer listed; "
                "they are refused",
                ended,
            )


def _freeze_what_is_loaded(arbiter: Arbiter) -> None:
    """Called in the master before its first fork: what it loaded lives as long as the workers do.

    Their collector then neither walks it nor writes to its pages, which stay shared.
    """
    gc.collect()
    gc.freeze()


def _say_nothing(worker: object, request: object) -> None:
    """In place of gunicorn's hook, which writes each path to the log at its debug level.

    A secret that was put into a path may be encoded there in ways that no redaction knows.
    """


class RedactingFormatter(logging.Formatter):
    """A formatter in whose output nothing that looks like a secret remains, tracebacks included.

    The last line of defence: no code of ours logs one in the first place.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, redacted."""
        return redact_secrets(super().format(record))


class RedactingLogger(Logger):
    """gunicorn's logger, redacting, and shared by the service's own log lines."""

    def setup(self, cfg: Config) -> None:
        """Called by gunicorn at the start and at each HUP."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(RedactingFormatter(self.error_fmt, self.datefmt))
        ours = logging.getLogger("latchkey")
        ours.handlers = self.error_log.handlers
        ours.setLevel(self.loglevel)
        ours.propagate = False


class EnvelopeWorker(ThreadWorker):
    """A threaded worker whose own refusals are answered in the envelope, and logged by kind only.

    gunicorn would quote the offending header to the log, and that may hold a secret.

    A request that is not read and answered within its deadline is cut off: each holds a thread.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadlines: dict[TConn, float] = {}
        self._request_timeout = cast(_Server, self.app).settings.request_timeout

    def handle(self, conn: TConn) -> bool:
        """Called by gunicorn in a thread, for each request on a connection."""
        self._deadlines[conn] = time.monotonic() + self._request_timeout
        try:
            return super().handle(conn)
        finally:
            self._deadlines.pop(conn, None)

    def notify(self) -> None:
        """Called by gunicorn at least once a second, in the main thread."""
        super().notify()
        now = time.monotonic()
        for conn, deadline in list(self._deadlines.items()):
            if now > deadline:
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)

    def handle_error(
        self, req: Message | None, client: socket.socket, addr: Any, exc: BaseException
    ) -> None:
        """Answer a request that could not be parsed, or whose handling failed outside Flask."""
        error = _refusal(exc)
        if isinstance(error, InternalError):
            self.log.error("a request failed outside the application", exc_info=exc)
        else:
            self.log.info("refused to parse a request: %s", type(exc).__name__)
            if req is not None:
                # A body found broken after its request had been answered: only close.
                return
        message = req or _message_of(exc.__traceback__)
        body = envelope(error, dialect_of_path(getattr(message, "path", None) or ""))
        headers = [*error_headers(error, body, bearer_presented=False), ("Connection", "close")]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        if getattr(message, "method", None) == "HEAD":
            body = b""
        try:
            client.settimeout(_SEND_TIMEOUT)
            client.sendall(f"HTTP/1.1 {status_line(error)}\r\n{head}\r\n".encode() + body)
        except OSError:
            self.log.debug("the client left before it was answered")


def _refusal(exc: BaseException) -> ApiError:
    """What the client is told of an exception that gunicorn met."""
    if isinstance(exc, _OUR_FAULTS):
        return InternalError()
    if isinstance(exc, http_errors.LimitRequestHeaders):
        return HeadersTooLarge()
    if isinstance(exc, http_errors.ParseException):
        return InvalidRequest("The request is not valid HTTP")
    return InternalError()


def _message_of(traceback: TracebackType | None) -> Message | None:
    """The message that was being parsed, None if it was not begun; parts of it may be missing.

    gunicorn hands a message over only when all of it is parsed; until then it is found in the
    frames of its parser.
    """
    while traceback is not None:
        message = traceback.tb_frame.f_locals.get("self")
        if isinstance(message, Message):
            return message
        traceback = traceback.tb_next
    return None
