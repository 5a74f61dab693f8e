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
import latchkey_service.console.mount
import latchkey_service.verify.surface  # noqa: F401
from fastcache.shared import SegmentError
from latchkey.assembly import Latchkey
from latchkey.binding import InheritedSocket, UnixAddress, parse_addresses
from latchkey.box.neighbours import differences
from latchkey.box.segment import ServiceSegment
from latchkey.config import Settings
from latchkey.credentials.derivation import DerivationKeys
from latchkey.credentials.importing import NO_DERIVATION_KEY
from latchkey.errors import ConfigurationError, StoreError
from latchkey.files.owner import require_own
from latchkey.files.shared_places import identity_of
from latchkey.key_files import load_derivation, load_seal
from latchkey.permissions import weaknesses
from latchkey.preparing import prepare_instance
from latchkey.store.audit_head import Seal
from latchkey.store.database_urls import database_of
from latchkey.store.lifecycle import Database, MigrationReport
from latchkey.wording import counted
from latchkey_service import create_app
from latchkey_service.server.early_signals import release_signals
from latchkey_service.server.listening import are_inherited, prepare, remove_foreign_variables
from latchkey_service.server.open_files import connections_within, is_too_low, raise_limit
from latchkey_service.server.request_parser import PARSER_SETTINGS
from latchkey_service.server.service_log import RedactingLogger
from latchkey_service.server.worker import EnvelopeWorker
from latchkey_service.verify.rules import Rules
from latchkey_service.verify.rules_file import load_rules, warnings_about

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - only for gunicorn's heartbeat files
_KEEPALIVE = 30


def serve(settings: Settings) -> None:
    """Prepare the database, then run gunicorn in the foreground until it receives a signal.

    Raises ConfigurationError if the service cannot start.
    """
    database = database_of(settings)
    require_own(database.place)
    # gunicorn would remove this prefix from every path.
    os.environ.pop("SCRIPT_NAME", None)
    remove_foreign_variables()
    if not are_inherited():
        prepare(settings)
    derivation = load_derivation(settings)
    rules = load_rules(settings)
    # Check for lost files first: opening the database removes the evidence.
    missing = database.losses()
    report = prepare_instance(settings)
    seal = load_seal(settings)
    found = (missing, _check_audit_head(database, seal))
    warnings = [warning for warning in found if warning is not None]
    warnings += _compare_with_boxes(database, settings, derivation)
    segment = ServiceSegment.open(settings)
    master = os.getpid()
    try:
        _Server(settings, derivation, seal, rules, report, segment, warnings).run()
    finally:
        # Also after a failed start. Workers pass here too, but only the master closes the segment.
        if os.getpid() == master:
            _close(segment)


def _check_audit_head(database: Database, seal: Seal) -> str | None:
    """A warning if the audit log ends before its head file; closes the database again."""
    with closing(database.open_store(seal=seal)) as store:
        try:
            return store.audit.behind_head()
        except StoreError as error:
            raise ConfigurationError(f"the database cannot be used: {error.detail}") from None


def _compare_with_boxes(
    database: Database, settings: Settings, derivation: DerivationKeys
) -> list[str]:
    """Warnings about running boxes that use the database too; closes the database again."""
    with closing(database.open_store()) as store:
        return differences(store, settings, derivation.ids_newest_first)


def _close(segment: ServiceSegment) -> None:
    """Close the shared memory; called by the master when all workers have exited."""
    try:
        segment.close()
    except (StoreError, SegmentError) as error:
        log = logging.getLogger("latchkey")
        log.error("the shared memory is kept for the next start: %s", error)


class _Server(BaseApplication):
    """gunicorn, configured only by our settings, not by its own files or variables."""

    def __init__(
        self,
        settings: Settings,
        derivation: DerivationKeys,
        seal: Seal,
        rules: Rules | None,
        report: MigrationReport,
        segment: ServiceSegment,
        warnings: Sequence[str],
    ) -> None:
        self.settings = settings
        self._derivation = derivation
        self._seal = seal
        self._rules = rules
        self._report = report
        self._segment = segment
        self._warnings = warnings
        self._latchkey: Latchkey | None = None
        self._file_limit = raise_limit()
        addresses = parse_addresses(settings.bind)
        if are_inherited():
            # gunicorn would open these numbers too, but the previous master has closed them.
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
            **PARSER_SETTINGS,
            "control_socket_disable": True,
            "worker_tmp_dir": _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None,
            "on_starting": self._report_start,
            "when_ready": _freeze_loaded_objects,
            "nworkers_changed": self._limit_to_one,
            "worker_exit": self._end_worker,
            "pre_request": _log_nothing,
        }.items():
            self.cfg.set(name, value)

    def reload(self) -> None:
        """Called at each HUP: read the files again, and keep what is in use if they are invalid.

        Only the master reads them, so that all new workers use the same keys and the same rules.
        """
        log = logging.getLogger("latchkey")
        self._reload_keys(log)
        self._reload_rules(log)
        super().reload()

    def _reload_keys(self, log: logging.Logger) -> None:
        try:
            derivation, seal = load_derivation(self.settings), load_seal(self.settings)
            self._report = database_of(self.settings).prepare()
        except ConfigurationError as error:
            log.error("the key files were not reloaded; the current keys stay in use: %s", error)
        else:
            self._derivation, self._seal = derivation, seal
            self._report_permissions(log)
            self._report_credentials(log)

    def _reload_rules(self, log: logging.Logger) -> None:
        try:
            rules = load_rules(self.settings)
        except ConfigurationError as error:
            log.error("the routes file was not reloaded; the current rules stay in use: %s", error)
        else:
            self._rules = rules
            self._report_rules(log)

    def load(self) -> Any:
        """The WSGI application; called in each worker, after the fork."""
        shared = self._segment.for_worker()
        app = create_app(
            self.settings,
            derivation=self._derivation,
            seal=self._seal,
            shared=shared,
            rules=self._rules,
            migrate=False,
        )
        latchkey: Latchkey = app.extensions["latchkey"]
        latchkey.upkeep.start()
        self._latchkey = latchkey
        return app

    def _end_worker(self, arbiter: Arbiter, worker: object) -> None:
        """Called in a worker that exits, after its requests have been answered."""
        if self._latchkey is not None:
            self._latchkey.upkeep.stop()

    def _limit_to_one(self, arbiter: Arbiter, count: int, before: int | None) -> None:
        """Called when the number of workers changes. Without shared memory, only one may run."""
        if count > 1 and self._segment.is_private:
            cast(Logger, arbiter.log).error("no shared memory, so only one worker is allowed")
            arbiter.num_workers = 1

    def run(self) -> None:
        """Run gunicorn's master until it receives a signal."""
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
                "the limit of open files, %d, is too low for %s in each worker; raise it with "
                "ulimit -Hn or LimitNOFILE= of systemd",
                self._file_limit,
                counted(threads, "thread"),
            )
        if self._segment.warning is not None:
            log.warning(self._segment.warning)
        for warning in self._warnings:
            log.error(warning)
        if self._report.created:
            log.info("created the database %s", database_of(self.settings).shown)
        for line in self._report.warnings:
            log.warning("%s", line)
        self._report_permissions(log)
        self._report_credentials(log)
        self._report_rules(log)

    def _report_permissions(self, log: Logger | logging.Logger) -> None:
        """Log warnings about files that other users can access."""
        for line in weaknesses(self.settings):
            log.warning("%s", line)

    def _report_credentials(self, log: Logger | logging.Logger) -> None:
        """Log how many credentials are active, and how many lack a listed derivation key."""
        active = self._report.active_by_derivation
        # Imported keys have no derivation key.
        vouched = self._derivation.ids | {NO_DERIVATION_KEY}
        ended = sum(count for key, count in active.items() if key not in vouched)
        log.info(counted(sum(active.values()) - ended, "active credential"))
        if ended:
            log.warning(
                "the service refuses %s, because their derivation keys are not listed",
                counted(ended, "active credential"),
            )

    def _report_rules(self, log: Logger | logging.Logger) -> None:
        """Log how many rules the routes file has, and warnings about them."""
        if self._rules is None:
            return
        log.info("%s in the routes file", counted(len(self._rules.rules), "rule"))
        for line in warnings_about(self._rules, self.settings):
            log.warning("%s", line)


class _Master(Arbiter):
    """gunicorn's master. On exit, it removes only the unix sockets that it created."""

    def __init__(self, server: _Server) -> None:
        super().__init__(server)
        self._addresses = parse_addresses(server.settings.bind)
        self._made: dict[str, tuple[int, int] | None] = {}

    def start(self) -> None:
        """Called by gunicorn before the first fork."""
        super().start()
        paths = [one.path for one in self._addresses if isinstance(one, UnixAddress)]
        self._made = {path: identity_of(Path(path)) for path in paths}

    def init_signals(self) -> None:
        """Called by gunicorn in the master, before it listens."""
        super().init_signals()
        release_signals()

    def stop(self, graceful: bool = True) -> None:
        """Called by gunicorn on every exit."""
        kept = [listener for listener in self.LISTENERS if not self._is_foreign(listener)]
        for listener in self.LISTENERS:
            if listener not in kept:
                listener.close()
        # gunicorn removes the sockets in this list.
        self.LISTENERS[:] = kept
        super().stop(graceful)

    def _is_foreign(self, listener: BaseSocket) -> bool:
        """Whether it is a unix socket whose path does not, or no longer, belong to this service."""
        if listener.FAMILY != socket.AF_UNIX:
            return False
        path = listener.getsockname()
        made = self._made.get(path)
        return made is None or made != identity_of(Path(path))


def _freeze_loaded_objects(arbiter: Arbiter) -> None:
    """Called in the master before the first fork: exempt all loaded objects from collection.

    The garbage collectors of the workers then skip them, and their memory pages stay shared.
    """
    gc.collect()
    gc.freeze()


def _log_nothing(worker: object, request: object) -> None:
    """Replaces gunicorn's hook, which logs the path of each request at the debug level.

    A path may contain a secret in an encoding that the redaction does not recognise.
    """
