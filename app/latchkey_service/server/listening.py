"""Checks of the listen addresses at the start, and the removal of stale unix sockets.

gunicorn opens the sockets, but fails with a traceback or after several attempts. These checks
report an unusable address in one line. If an address is in use, they wait a few seconds, because
the service that uses it may be stopping.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import time
from pathlib import Path

from latchkey.binding import InheritedSocket, TcpAddress, UnixAddress, parse_addresses
from latchkey.config import Settings
from latchkey.errors import ConfigurationError
from latchkey.files.shared_places import clear_socket

_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
# Seconds. Workers whose master was killed stop listening sooner than that.
_PATIENCE = 5.0
_PAUSE = 0.1
_BACKLOG = 2048
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


def are_inherited() -> bool:
    """Whether the sockets are inherited from the previous master or from systemd."""
    return "GUNICORN_FD" in os.environ or _from_systemd()


def remove_foreign_variables() -> None:
    """Remove variables of gunicorn and systemd about sockets that this process did not inherit.

    gunicorn would use them, and fail.
    """
    if not _from_systemd() or not _NUMBER.fullmatch(os.environ.get("LISTEN_FDS", "")):
        os.environ.pop("LISTEN_PID", None)
        os.environ.pop("LISTEN_FDS", None)
    given = os.environ.get("GUNICORN_FD", "")
    are_there = "LISTEN_PID" in os.environ if not given else _are_sockets(given)
    if not are_there or not _NUMBER.fullmatch(os.environ.get("GUNICORN_PID", "")):
        os.environ.pop("GUNICORN_PID", None)
        os.environ.pop("GUNICORN_FD", None)


def _from_systemd() -> bool:
    return os.environ.get("LISTEN_PID") == str(os.getpid())


def _are_sockets(numbers: str) -> bool:
    """Whether a comma-separated list names open sockets."""
    try:
        return all(stat.S_ISSOCK(os.fstat(int(one)).st_mode) for one in numbers.split(","))
    except (ValueError, OverflowError, OSError):
        return False


def prepare(settings: Settings) -> None:
    """Check all addresses, and remove stale unix sockets.

    Raises ConfigurationError if the service cannot listen on an address.
    """
    for address in parse_addresses(settings.bind):
        try:
            if isinstance(address, TcpAddress):
                _try(address)
            elif isinstance(address, UnixAddress):
                clear_socket(Path(address.path), _PATIENCE)
            else:
                _check_inherited(address)
        except OSError as error:
            raise ConfigurationError(
                f"{settings.source('bind')}: cannot listen on {address}: {error.strerror or error}"
            ) from None


def _try(address: TcpAddress) -> None:
    family = socket.AF_INET6 if address.is_ipv6 else socket.AF_INET
    deadline = time.monotonic() + _PATIENCE
    while True:
        # gunicorn resolves a host name for IPv4 only, so this does too.
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((address.host, address.port))
                return
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise
        time.sleep(_PAUSE)


def _check_inherited(address: InheritedSocket) -> None:
    with socket.socket(fileno=os.dup(address.descriptor)) as given:
        if given.family not in _FAMILIES or given.type != socket.SOCK_STREAM:
            raise OSError(errno.ENOTSOCK, "it is not a stream socket")
        if not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            given.listen(_BACKLOG)
