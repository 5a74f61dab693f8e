"""The server: gunicorn's settings and hooks.

The master prepares the database in a child process before it forks; each worker builds its own
application afterwards, so no connection and no lock crosses a fork.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.sock import BaseSocket

# Loaded once, before the fork, for all workers.
import latchkey_service.api.routes
import latchkey_service.console.mount  # noqa: F401
from fastcache.shared import SegmentError
from latchkey.assembly import Latchkey
from latchkey.binding import InheritedSocket, UnixAddress, parse_addresses
from latchkey.box.segment import ServiceSegment
from latchkey.config import Settings
from latchkey.credentials.derivation import DerivationKeys
from latchkey.credentials.importing import NO_DERIVATION_KEY
from latchkey.errors import ConfigurationError, StoreError
from latchkey.files.owner import require_own
from latchkey.files.shared_places import identity_of
from latchkey.key_files import load_derivation, load_seal, make_audit_key_file
from latchkey.permissions import weaknesses
from latchkey.store.audit_head import Seal
from latchkey.store.database_urls import database_at
from latchkey.store.lifecycle import Database, MigrationReport
from latchkey.wording import counted
from latchkey_service import create_app
from latchkey_service.server.listening import are_inherited, forget_what_is_not_inherited, prepare
from latchkey_service.server.open_files import connections_within, is_too_low, raise_limit
from latchkey_service.server.service_log import RedactingLogger
from latchkey_service.server.worker import EnvelopeWorker

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - only for gunicorn's heartbeat files
_KEEPALIVE = 30


def serve(settings: Settings) -> None:
    """Prepare the database, then run gunicorn in the foreground until it is told to stop.

    Raises ConfigurationError where the start cannot succeed.
    """
    database = database_at(settings.database_url)
    require_own(database.place)
    # gunicorn would have it set apart from every path.
    os.environ.pop("SCRIPT_NAME", None)
    forget_what_is_not_inherited()
    if not are_inherited():
        prepare(settings)
    derivation = load_derivation(settings)
    # Before the database is opened, which removes the traces.
    missing = database.losses()
    report = database.prepare()
    make_audit_key_file(settings, report.audit_rows)
    seal = load_seal(settings)
    found = (missing, _behind_its_head(database, seal))
    warnings = [warning for warning in found if warning is not None]
    segment = ServiceSegment.open(settings)
    master = os.getpid()
    try:
        _Server(settings, derivation, seal, report, segment, warnings).run()
    finally:
        # However the run ended, also where it never listened; the workers come by here too.
        if os.getpid() == master:
            _let_go(segment)


def _behind_its_head(database: Database, seal: Seal) -> str | None:
    """What the audit head says against the database; nothing of that is left open."""
    with closing(database.open_store(seal=seal)) as store:
        try:
            return store.audit.behind_head()
        except StoreError as error:
            raise ConfigurationError(f"the database cannot be used: {error.detail}") from None


def _let_go(segment: ServiceSegment) -> None:
    """For the master, when no worker is left."""
    try:
        segment.close()
    except (StoreError, SegmentError) as error:
        log = logging.getLogger("latchkey")
        log.error("the shared memory is kept for the next start: %s", error)


class _Server(BaseApplication):
    """gunicorn, told everything by our settings and nothing by its own files or environment."""

    def __init__(
        self,
        settings: Settings,
        derivation: DerivationKeys,
        seal: Seal,
        report: MigrationReport,
        segment: ServiceSegment,
        warnings: Sequence[str],
    ) -> None:
        self.settings = settings
        self._derivation = derivation
        self._seal = seal
        self._report = report
        self._segment = segment
        self._warnings = warnings
        self._latchkey: Latchkey | None = None
        self._file_limit = raise_limit()
        addresses = parse_addresses(settings.bind)
        if are_inherited():
            # gunicorn would take the numbers for more sockets, which the former master has closed.
            addresses = tuple(one for one in addresses if not isinstance(one, InheritedSocket))
        self._addresses = [str(address) for address in addresses]
        super().__init__(prog="latchkey")

    def load_config(self) -> None:
        """Called by gunicorn at the start and at each HUP."""
        settings = self.settings
        for name, value in {
            "bind": self._addresses,
            "umask": 0o777 & ~int(settings.socket_mode, 8),
            "workers": settings.workers,
            "threads": settings.threads,
            "worker_class": EnvelopeWorker,
            "logger_class": RedactingLogger,
            "loglevel": settings.log_level,
            "accesslog": None,
            "proc_name": "latchkey",
            "keepalive": _KEEPALIVE,
            "worker_connections": connections_within(self._file_limit, settings.threads),
            # Headers from outside set nothing in the environ but HTTP_ names. gunicorn would
            # believe every client of a unix socket.
            "forwarder_headers": "",
            "forwarded_allow_ips": "",
            "secure_scheme_headers": {},
            "header_map": "drop",
            "proxy_protocol": "off",
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
            derivation, seal = load_derivation(self.settings), load_seal(self.settings)
            self._report = database_at(self.settings.database_url).prepare()
        except ConfigurationError as error:
            log.error("the settings were not reloaded: %s", error)
        else:
            self._derivation, self._seal = derivation, seal
            self._report_permissions(log)
            self._report_credentials(log)
        super().reload()

    def load(self) -> Any:
        """The WSGI application; called in each worker, after the fork."""
        shared = self._segment.for_worker()
        app = create_app(
            self.settings,
            derivation=self._derivation,
            seal=self._seal,
            shared=shared,
            migrate=False,
        )
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
            cast(Logger, arbiter.log).error("no shared memory, so only one worker is allowed")
            arbiter.num_workers = 1

    def run(self) -> None:
        """Run gunicorn's master until it is told to stop."""
        _Master(self).run()

    def _report_start(self, arbiter: Arbiter) -> None:
        log = cast(Logger, arbiter.log)
        threads = self.settings.threads
        log.info(
            "up to %d connections in each worker (the limit of open files is %d)",
            connections_within(self._file_limit, threads),
            self._file_limit,
        )
        if is_too_low(self._file_limit, threads):
            log.warning(
                "the limit of open files, %d, is too low for %s in each worker: raise it (ulimit "
                "-Hn, or LimitNOFILE= of systemd)",
                self._file_limit,
                counted(threads, "thread"),
            )
        if self._segment.warning is not None:
            log.warning(self._segment.warning)
        for warning in self._warnings:
            log.error(warning)
        if self._report.created:
            log.info("made a new database, %s", database_at(self.settings.database_url).shown)
        self._report_permissions(log)
        self._report_credentials(log)

    def _report_permissions(self, log: Logger | logging.Logger) -> None:
        """What lets other users at the instance's files; nothing of it stops the service."""
        for line in weaknesses(self.settings):
            log.warning("%s", line)

    def _report_credentials(self, log: Logger | logging.Logger) -> None:
        """How many credentials are active, and how many the listed keys no longer vouch for."""
        active = self._report.active_by_derivation
        # No key made what was imported.
        vouched = self._derivation.ids | {NO_DERIVATION_KEY}
        ended = sum(count for key, count in active.items() if key not in vouched)
        log.info(counted(sum(active.values()) - ended, "active credential"))
        if ended:
            log.warning(
                "%s made with derivation keys that are no longer listed: refused",
                counted(ended, "active credential"),
            )


class _Master(Arbiter):
    """gunicorn's master, which at its end removes the unix sockets that it made, and no others."""

    def __init__(self, server: _Server) -> None:
        super().__init__(server)
        self._addresses = parse_addresses(server.settings.bind)
        self._made: dict[str, tuple[int, int] | None] = {}

    def start(self) -> None:
        """Called by gunicorn before the first fork."""
        super().start()
        paths = [one.path for one in self._addresses if isinstance(one, UnixAddress)]
        self._made = {path: identity_of(Path(path)) for path in paths}

    def stop(self, graceful: bool = True) -> None:
        """Called by gunicorn for every end."""
        kept = [listener for listener in self.LISTENERS if not self._is_foreign(listener)]
        for listener in self.LISTENERS:
            if listener not in kept:
                listener.close()
        # What gunicorn would remove, or fail to.
        self.LISTENERS[:] = kept
        super().stop(graceful)

    def _is_foreign(self, listener: BaseSocket) -> bool:
        """Whether it is a unix socket whose path is not this service's, or no longer."""
        if listener.FAMILY != socket.AF_UNIX:
            return False
        path = listener.getsockname()
        made = self._made.get(path)
        return made is None or made != identity_of(Path(path))


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
