"""PostgreSQL servers of the tests, each in a directory of its own, and their databases.

PostgreSQL refuses to run as root. Its processes then run as another user, who owns the directory.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from latchkey.store.postgresql.location import location_of
from latchkey.store.postgresql.migrate import migrate
from tests.support.ports import free_port

USER = "latchkey"
"""The role that owns every database; it is the superuser of the server."""

_PATIENCE = 60.0
_MEMORY = Path("/dev/shm")
# Nobody, on every Linux system. The files of the server belong to it while root runs the tests.
_OTHER_USER = 65534
# Tests survive no power failure, so a commit need not wait for the disk.
_FAST = {"fsync": "off", "full_page_writes": "off"}
_DEFAULTS = {
    "max_connections": "200",
    "shared_buffers": "32MB",
    "wal_level": "replica",
    "hot_standby": "on",
    "max_wal_senders": "4",
    "log_line_prefix": "%m [%p] ",
    # Names the same moment in every locale.
    "timezone": "UTC",
}


@lru_cache(maxsize=1)
def programs() -> Path | None:
    """The directory of the newest installed PostgreSQL's programs; None if it is missing."""
    found = list(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return max(found, key=lambda one: int(one.parts[-3])).parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


class Postgresql:
    """One server: its directory, its port on 127.0.0.1, its unix socket and its main process.

    ``options`` are settings of postgresql.conf. A commit waits for the disk only with
    ``fsync="on"``. ``restart`` keeps the port, the directory and the databases.
    """

    def __init__(self, directory: Path, options: Mapping[str, str] | None = None) -> None:
        """``directory`` is new and empty; it must be reachable for other users. See ``started``."""
        self.directory = directory
        self.data = directory / "data"
        self.port = free_port()
        self.options = {**_DEFAULTS, **_FAST, **(options or {})}
        self._log = directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._names = count(1)
        self._migrated: str | None = None
        if os.geteuid() == 0:
            os.chown(directory, _OTHER_USER, _OTHER_USER)

    @property
    def pid(self) -> int:
        """The process id of the server's main process."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server has logged."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def initialize(self) -> None:
        """Create the files of a server that has only the standard databases."""
        self._run(
            "initdb",
            f"--pgdata={self.data}",
            f"--username={USER}",
            "--auth=trust",
            "--encoding=UTF8",
            # Databases of operators seldom have the locale C, so texts would sort differently.
            "--locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        )

    def start(self) -> None:
        """Start the server with ``options``, and wait until it accepts connections."""
        given = [f"--{name}={value}" for name, value in self.options.items()]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *_as_other_user("INT"),
                    str(_program("postgres")),
                    *("-D", str(self.data), "-p", str(self.port), "-k", str(self.directory)),
                    "--listen_addresses=127.0.0.1",
                    *given,
                ],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _PATIENCE
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log}")
            time.sleep(0.02)

    def stop(self, how: int = signal.SIGINT) -> None:
        """Stop it and wait: SIGINT ends its connections, SIGQUIT is like a power failure."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_PATIENCE)
        self._process = None

    def restart(self, how: int = signal.SIGINT) -> None:
        """Stop it and start it again, with the present ``options``."""
        self.stop(how)
        self.start()

    def reload(self) -> None:
        """Apply the present files, such as those that ``allow`` has changed."""
        os.kill(self.pid, signal.SIGHUP)

    def allow(self, *lines: str) -> None:
        """Replace pg_hba.conf, which says who may connect and how; call ``reload`` to apply it."""
        (self.data / "pg_hba.conf").write_text("".join(f"{line}\n" for line in lines))

    def require_tls(self, certificate: bytes, key: bytes) -> None:
        """Accept connections by TCP only with TLS and a password, and restart."""
        owner = self.data.stat()
        for name, content in (("server.crt", certificate), ("server.key", key)):
            file = self.data / name
            file.touch(0o600)
            file.write_bytes(content)
            os.chown(file, owner.st_uid, owner.st_gid)
        self.allow("local all all trust", "hostssl all all 127.0.0.1/32 scram-sha-256")
        self.options["ssl"] = "on"
        self.restart()

    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection[TupleRow]:
        """A connection in autocommit, by the unix socket."""
        return psycopg.connect(
            host=str(self.directory),
            port=self.port,
            user=USER,
            dbname=database,
            autocommit=True,
            **options,
        )

    def execute(self, statement: str, *values: object, database: str = "postgres") -> list[Any]:
        """Run one statement; returns its rows."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def new_database(self, template: str = "template1") -> str:
        """Create a database as a copy of another one, to which nobody is connected.

        Returns its name. ``drop_database`` removes it.
        """
        name = f"test{next(self._names)}"
        with self.connect() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        return name

    def new_migrated_database(self) -> str:
        """Create an empty database with the tables of Latchkey; returns its name."""
        if self._migrated is None:
            made = self.new_database()
            migrate(location_of(self.url(made)).conninfo())
            self._migrated = made
        return self.new_database(self._migrated)

    def drop_database(self, name: str) -> None:
        """Remove a database, and end the connections to it."""
        with self.connect() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def url(self, database: str, *, user: str = USER, password: str | None = None) -> str:
        """The URL of a database for ``LATCHKEY_DATABASE_URL``, by TCP."""
        given = user if password is None else f"{user}:{password}"
        return f"postgresql+psycopg://{given}@127.0.0.1:{self.port}/{database}"

    def socket_url(self, database: str) -> str:
        """The same by the unix socket."""
        host = f"host={self.directory}&port={self.port}"
        return f"postgresql+psycopg://{USER}@/{database}?{host}"

    def end_connections(self, database: str) -> int:
        """End every connection to a database, as an administrator may; returns how many."""
        ended = self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", database
        )
        return len(ended)

    @contextmanager
    def standby(self, name: str = "standby", **options: str) -> Iterator[Postgresql]:
        """A server that follows this one, by streaming replication under the name ``name``.

        ``promote`` makes it the primary. For a synchronous one, set ``synchronous_standby_names``
        of this server afterwards: ``execute("ALTER SYSTEM SET …")`` and ``reload``.
        """
        directory = _new_directory()
        other = Postgresql(directory, {**self.options, **options})
        try:
            self._run(
                "pg_basebackup",
                f"--pgdata={other.data}",
                *("-h", str(self.directory), "-p", str(self.port), "-U", USER),
                *("--checkpoint=fast", "--no-sync", "--wal-method=stream", "-R"),
            )
            source = f"host={self.directory} port={self.port} user={USER} application_name={name}"
            other.options["primary_conninfo"] = source
            other.start()
            yield other
        finally:
            other.stop(signal.SIGQUIT)
            shutil.rmtree(directory, ignore_errors=True)

    def promote(self) -> None:
        """Make a standby the primary, and wait until it accepts changes."""
        self.execute("SELECT pg_promote(true, %s)", int(_PATIENCE))

    def _accepts(self) -> bool:
        with suppress(psycopg.OperationalError), self.connect(connect_timeout=5):
            return True
        return False

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*_as_other_user(), str(_program(program)), *arguments],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def started(**options: str) -> Iterator[Postgresql]:
    """A new server for the block, with settings of postgresql.conf; removed at the end."""
    directory = _new_directory()
    server = Postgresql(directory, options)
    try:
        server.initialize()
        server.start()
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(directory, ignore_errors=True)


def _new_directory() -> Path:
    # Short, because the name of a unix socket has at most 107 characters; not below the directory
    # of the tests, which other users cannot reach.
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    return Path(tempfile.mkdtemp("", "latchkey-postgresql-", place))


def _as_other_user(end_with_parent: str | None = None) -> list[str]:
    # ``end_with_parent`` is the signal that a server gets when the test run is killed.
    ends = [f"--pdeathsig={end_with_parent}"] if end_with_parent else []
    if os.geteuid() != 0:
        return ["setpriv", *ends] if ends else []
    ids = [f"--reuid={_OTHER_USER}", f"--regid={_OTHER_USER}", "--clear-groups"]
    return ["setpriv", *ids, *ends]


def _program(name: str) -> Path:
    found = programs()
    if found is None:
        raise RuntimeError("PostgreSQL is not installed")
    return found / name
