"""A network of containers on one machine, and a port of the machine that leads to one of them."""

from __future__ import annotations

import socket
import subprocess
from contextlib import closing
from http.client import HTTPConnection
from ipaddress import IPv4Network
from itertools import count
from pathlib import Path

from tests.support.boxes.places import Namespaces
from tests.support.boxes.tcp_proxy import TcpProxy
from tests.support.service import Answer

_BRIDGE = "inside"
_ADDRESSES = IPv4Network("172.18.0.0/16")
_MACHINE = 1


class Network:
    """A bridge in a network namespace of its own, which takes the place of the machine's.

    ``close`` it after the containers; nothing of it is left.
    """

    def __init__(self, directory: Path) -> None:
        self._machine = Namespaces(directory)
        self._numbers = count(_MACHINE + 1)
        self._proxies: list[TcpProxy] = []
        try:
            for command in (
                # Without a hardware address, it has that of one of its devices, and another one
                # whenever these change: what containers send then goes to the former one.
                f"link add {_BRIDGE} address {_hardware(str(_ADDRESSES[_MACHINE]))} type bridge",
                f"address add {_ADDRESSES[_MACHINE]}/{_ADDRESSES.prefixlen} dev {_BRIDGE}",
                f"link set {_BRIDGE} up",
            ):
                done = subprocess.run(
                    [*self._machine.entering, "ip", *command.split()],
                    stderr=subprocess.PIPE,
                    text=True,
                    check=False,
                )
                if done.returncode != 0:
                    raise OSError(f"no bridge: {done.stderr.strip()}")
        except BaseException:
            self._machine.close()
            raise

    def new_address(self) -> str:
        """An address that no other container has."""
        return str(_ADDRESSES[next(self._numbers)])

    def joining(self, address: str) -> list[str]:
        """The shell commands by which a new network namespace joins, with this address.

        A container that had the address before has ended.
        """
        *_, high, low = address.split(".")
        outside, machine = f"veth{high}.{low}", self._machine.network
        return [
            # The kernel removes the device of a container some time after the end of the container.
            f"nsenter --net={machine} ip link delete {outside} 2>/dev/null || true",
            "ip link set lo up",
            f"ip link add eth0 address {_hardware(address)} type veth "
            f"peer name {outside} netns {machine}",
            f"nsenter --net={machine} ip link set {outside} master {_BRIDGE} up",
            f"ip address add {address}/{_ADDRESSES.prefixlen} dev eth0",
            "ip link set eth0 up",
        ]

    def publish(self, outside: tuple[str, int], inside: tuple[str, int]) -> None:
        """Lead an address of the machine to that of a container."""
        listening = self._machine.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(outside)
        listening.listen(64)
        # Its thread stays in the network that it is started in.
        with self._machine.entered():
            self._proxies.append(TcpProxy(listening, inside))

    def request(
        self,
        address: tuple[str, int],
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send one request from the machine."""
        with closing(HTTPConnection(*address)) as connection:
            connection.sock = self._machine.socket()
            connection.sock.settimeout(60)
            connection.sock.connect(address)
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())

    def close(self) -> None:
        """Remove the network."""
        for proxy in self._proxies:
            proxy.close()
        self._machine.close()


def _hardware(address: str) -> str:
    """The hardware address that follows from another one, as that of a container does."""
    return "02:42:" + ":".join(f"{int(part):02x}" for part in address.split("."))
