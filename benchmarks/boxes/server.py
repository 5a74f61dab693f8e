"""A PostgreSQL server for a measurement, in a directory of its own, with durable commits."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from benchmarks.load.processes import Cores, running_on
from benchmarks.load.service import free_port

USER = "latchkey"
_NOBODY = 65534
_PATIENCE = 60.0


class ServerMissing(RuntimeError):
    """PostgreSQL is not installed, or did not start."""


@contextmanager
def postgresql(cores: Cores) -> Iterator[str]:
    """The URL of an empty database of a new server, which ends with the block.

    Its processes run on the cores for servers. It refuses to run as root, and then runs as another
    user.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    on_path = shutil.which("postgres")
    if not found and on_path is None:
        raise ServerMissing("PostgreSQL is not installed: apt-get install postgresql")
    programs = (found[-1] if found else Path(str(on_path)).resolve()).parent
    # Not below the directory for temporary files of this user, which others may not reach.
    directory = Path(tempfile.mkdtemp(prefix="latchkey-bench-postgresql-", dir="/var/tmp"))
    other = []
    if os.geteuid() == 0:
        os.chown(directory, _NOBODY, _NOBODY)
        other = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    try:
        create = [str(programs / "initdb"), f"--pgdata={directory}/data", f"--username={USER}"]
        subprocess.run(
            [*other, *create, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"],
            cwd=directory,
            check=True,
            capture_output=True,
        )
        port = free_port()
        serve = [str(programs / "postgres"), "-D", f"{directory}/data", "-p", str(port)]
        with (directory / "log").open("wb") as log, running_on(cores.server):
            process = subprocess.Popen(
                [*other, *serve, "-k", str(directory), "--listen_addresses=127.0.0.1"],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            address = f"{USER}@127.0.0.1:{port}/postgres"
            _await(f"postgresql://{address}", process, directory / "log")
            yield f"postgresql+psycopg://{address}"
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)
                process.wait()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def version(url: str) -> str:
    """The version of the server, such as ``15.9``."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        number = connection.info.server_version
    return f"{number // 10_000}.{number % 10_000}"


def _await(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        with suppress(psycopg.OperationalError), psycopg.connect(address):
            return
        if process.poll() is not None or time.monotonic() > until:
            raise ServerMissing(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)
