"""The addresses at the start: whether each can be listened on, and what earlier services left.

gunicorn opens the sockets. What it would meet with a traceback, or only after several tries, is
told here in one line; an address that is merely in use is left to its tries.
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from latchkey.binding import InheritedSocket, ListenAddress, TcpAddress, UnixAddress
from latchkey.config import variable
from latchkey.errors import ConfigurationError
from latchkey.files.shared_places import clear_socket

_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
# Workers whose master was killed notice sooner, and stop listening.
_PATIENCE = 5.0
_BACKLOG = 2048


def are_inherited() -> bool:
    """Whether the sockets are there already: from the former master, or from systemd."""
    return "GUNICORN_FD" in os.environ or os.environ.get("LISTEN_PID") == str(os.getpid())


def prepare(addresses: tuple[ListenAddress, ...]) -> None:
    """Remove the unix sockets that nobody listens on any more.

    Raises ConfigurationError for an address that cannot be listened on.
    """
    for address in addresses:
        try:
            if isinstance(address, TcpAddress):
                _try(address)
            elif isinstance(address, UnixAddress):
                clear_socket(Path(address.path), _PATIENCE)
            else:
                _look_at(address)
        except OSError as error:
            raise _refusal(address, error.strerror or str(error)) from None


def _refusal(address: ListenAddress, reason: str) -> ConfigurationError:
    return ConfigurationError(f"{variable('bind')}: cannot listen on {address}: {reason}")


def _try(address: TcpAddress) -> None:
    family = socket.AF_INET6 if address.is_ipv6 else socket.AF_INET
    # A name is looked up as gunicorn does, for IPv4 only.
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((address.host, address.port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise


def _look_at(address: InheritedSocket) -> None:
    with socket.socket(fileno=os.dup(address.descriptor)) as given:
        if given.family not in _FAMILIES or given.type != socket.SOCK_STREAM:
            raise _refusal(address, "it is not a stream socket")
        if not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            given.listen(_BACKLOG)
