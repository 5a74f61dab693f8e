"""pgbouncer in transaction mode, as another user, in a directory of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.faults.service_processes import wait_until
from tests.support.ports import free_port
from tests.support.postgresql import USER, Postgresql

PLACE = "/etc/pgbouncer"
"""The directory of its files, as texts name it; a test has another one."""

_OTHER_USER = 65534


def program() -> str | None:
    """The path of pgbouncer; None if it is not installed."""
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def pooling(server: Postgresql) -> Iterator[tuple[str, int]]:
    """The address of a pgbouncer before a server, for the block."""
    port = free_port()
    settings = (
        "[databases]\n"
        f"* = host=127.0.0.1 port={server.port}\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {PLACE}/userlist.txt\n"
        "pool_mode = transaction\ndefault_pool_size = 40\n"
    )
    with running(port, {"pgbouncer.ini": settings, "userlist.txt": f'"{USER}" ""\n'}):
        yield "127.0.0.1", port


@contextmanager
def running(port: int, files: Mapping[str, str]) -> Iterator[None]:
    """A pgbouncer with these files, by their names, which listens on a port during the block."""
    name = program()
    assert name is not None, "pgbouncer is not installed"
    directory = Path(tempfile.mkdtemp(prefix="latchkey-pooler-"))
    for file, text in files.items():
        (directory / file).write_text(text.replace(PLACE, str(directory)))
    drop = []
    if os.geteuid() == 0:
        for path in (directory, *directory.iterdir()):
            os.chown(path, _OTHER_USER, _OTHER_USER)
        drop = [f"--reuid={_OTHER_USER}", f"--regid={_OTHER_USER}", "--clear-groups"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            ["setpriv", *drop, "--pdeathsig=INT", name, str(directory / "pgbouncer.ini")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: _accepts(port), "pgbouncer")
        yield
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory)


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
