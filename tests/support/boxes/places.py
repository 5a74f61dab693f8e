"""The places that boxes run in: namespaces of their own, or only directories of their own."""

from __future__ import annotations

import ctypes
import os
import socket as sockets
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.forked import COMMAND
from tests.support.ports import free_port

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_SERVICE_PORT, _DATABASE_PORT = 8080, 5432
# Another address than that of the service, so that it can be cut off alone.
_DATABASE_ADDRESS = "127.0.0.2"

# The directory of the test may be below /dev/shm, and then has to remain visible.
_PREPARE = """
exec 3<"$0" && ip link set lo up &&
mount -t tmpfs -o mode=1777 latchkey-test-box /dev/shm &&
case "$0" in /dev/shm/*) mkdir -p "$0" && mount -c --bind /proc/self/fd/3 "$0";; esac &&
exec 3<&- && echo ready && exec cat
"""


class Place(ABC):
    """Where one box runs: its shared memory, and its addresses for requests and the database."""

    service: tuple[str, int]
    database: tuple[str, int]

    @property
    @abstractmethod
    def is_apart(self) -> bool:
        """Whether the place has namespaces of its own."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """The settings of a service in this place."""

    @abstractmethod
    def code(self, directory: Path) -> str:
        """Code for a new process that enters the place and runs ``latchkey`` there."""

    @abstractmethod
    def socket(self) -> sockets.socket:
        """A new TCP socket in the network of the place."""

    @abstractmethod
    def lose_packets(self, lost: bool) -> None:
        """Lose the packets between the box and its database, or deliver them again."""

    @abstractmethod
    def close(self) -> None:
        """Remove the place, after its last process has ended."""

    def listen(self) -> sockets.socket:
        """A socket that listens at the address of the database."""
        listening = self.socket()
        listening.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        listening.bind(self.database)
        listening.listen(64)
        return listening

    def connect(self, timeout: float) -> sockets.socket:
        """A connection to the service; ``timeout`` is in seconds."""
        connection = self.socket()
        try:
            connection.settimeout(timeout)
            connection.connect(self.service)
            connection.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        except BaseException:
            connection.close()
            raise
        return connection


class Namespaces(Place):
    """A network namespace with a loopback device only, and a mount namespace with its /dev/shm.

    A process that only waits holds them. The kernel removes them, with all that is mounted and
    configured there, when it and the service have ended; it ends when this process does.
    """

    def __init__(self, directory: Path) -> None:
        self.service = ("127.0.0.1", _SERVICE_PORT)
        self.database = (_DATABASE_ADDRESS, _DATABASE_PORT)
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", _PREPARE, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            _, error = self._holder.communicate()
            raise OSError(f"no namespaces: {error.decode().strip()}")
        self._network = os.open(self.network, os.O_RDONLY)

    @property
    def is_apart(self) -> bool:
        return True

    def settings(self) -> dict[str, str]:
        return {}

    def code(self, directory: Path) -> str:
        return (
            "import ctypes, os\n"
            f"for kind, flag in (('net', {_CLONE_NEWNET}), ('mnt', {_CLONE_NEWNS})):\n"
            f"    with open(f'/proc/{self._holder.pid}/ns/{{kind}}') as file:\n"
            "        if ctypes.CDLL(None).setns(file.fileno(), flag) != 0:\n"
            "            raise SystemExit('cannot enter the namespaces')\n"
            f"os.chdir({str(directory)!r})\n{COMMAND}"
        )

    def socket(self) -> sockets.socket:
        # A socket stays in the namespace it was created in.
        with self.entered():
            return sockets.socket()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread, and those that it starts, be in the network for the block."""
        with open("/proc/thread-self/ns/net") as own:
            _enter(self._network)
            try:
                yield
            finally:
                _enter(own.fileno())

    @property
    def network(self) -> str:
        """The file of the network namespace."""
        return f"/proc/{self._holder.pid}/ns/net"

    @property
    def entering(self) -> list[str]:
        """The beginning of a command that runs in the network."""
        return ["nsenter", f"--net={self.network}"]

    def lose_packets(self, lost: bool) -> None:
        how = "replace" if lost else "delete"
        route = ["ip", "route", how, "table", "local", "blackhole", f"{_DATABASE_ADDRESS}/32"]
        subprocess.run([*self.entering, *route], check=True)

    def close(self) -> None:
        os.close(self._network)
        self._holder.communicate()


class Directories(Place):
    """Without namespaces: a directory for the shared memory, and ports of the machine."""

    def __init__(self, directory: Path) -> None:
        self.service = ("127.0.0.1", free_port())
        self.database = ("127.0.0.1", free_port())
        memory = Path("/dev/shm")
        self._memory = TemporaryDirectory(prefix="latchkey-test-box-", dir=memory)

    @property
    def is_apart(self) -> bool:
        return False

    def settings(self) -> dict[str, str]:
        return {"LATCHKEY_SHARED_MEMORY": self._memory.name}

    def code(self, directory: Path) -> str:
        return COMMAND

    def socket(self) -> sockets.socket:
        return sockets.socket()

    def lose_packets(self, lost: bool) -> None:
        raise NotImplementedError("packets are lost only in a network namespace")

    def close(self) -> None:
        self._memory.cleanup()


def place_in(directory: Path, *, apart: bool | None = None) -> Place:
    """A new place for a box with its files in ``directory``; ``apart`` None means: if possible."""
    if apart is None:
        apart = can_separate()
    return Namespaces(directory) if apart else Directories(directory)


@lru_cache(maxsize=1)
def can_separate() -> bool:
    """Whether this user may create namespaces on this machine."""
    try:
        with TemporaryDirectory() as name, closing(Namespaces(Path(name))) as place:
            place.socket().close()
    except OSError:
        return False
    return True


def _enter(network: int) -> None:
    if _LIBC.setns(network, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
