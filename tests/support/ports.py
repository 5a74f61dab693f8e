"""Ports for servers of the tests, which no other test run and no connection uses meanwhile."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

_FIRST, _LAST = 20_000, 31_999
"""Below the range from which kernels choose the ports of connections."""


def free_port() -> int:
    """A port on 127.0.0.1 that is free, and stays free until a test binds it.

    Test runs of the same user take turns: each port is given out once until all others were.
    """
    name = Path(tempfile.gettempdir()) / f"latchkey-test-ports-{os.geteuid()}"
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read()
        port = int(text) if text.isdigit() else _FIRST
        for _ in range(_FIRST, _LAST + 1):
            port = port + 1 if _FIRST <= port < _LAST else _FIRST
            with suppress(OSError), socket.create_server(("127.0.0.1", port)):
                file.seek(0)
                file.truncate()
                file.write(str(port))
                return port
    raise RuntimeError("no port is free")
