"""Addresses: where the service listens, and the public URL by which browsers reach it.

An accepted address is also accepted by gunicorn, with the same meaning.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass

_PORT = re.compile(r"[0-9]{1,5}")
_DESCRIPTOR = re.compile(r"[0-9]{1,7}")
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")
_LARGEST_PORT = 65535
_STANDARD_PORTS = {"http": 80, "https": 443}
_LONGEST_NAME = 253
# The kernel's limit for a socket path, without the terminating zero byte.
_LONGEST_PATH = 107
_IPV4_WILDCARD, _IPV6_WILDCARD = "0.0.0.0", "::"  # noqa: S104 - to tell that it is one
_LOOPBACK = {_IPV4_WILDCARD: "127.0.0.1", _IPV6_WILDCARD: "::1"}


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host name or IP address (IPv6 without brackets) and a port."""

    host: str
    port: int

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host

    @property
    def url(self) -> str | None:
        """The URL for programs on the same machine; None if the port is chosen when listening."""
        host = _bracketed(_LOOPBACK.get(self.host, self.host))
        return f"http://{host}:{self.port}" if self.port else None

    def __str__(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The path of a unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class InheritedSocket:
    """The number of a descriptor that the parent process, such as systemd, has opened."""

    descriptor: int

    def __str__(self) -> str:
        return f"fd://{self.descriptor}"


ListenAddress = TcpAddress | UnixAddress | InheritedSocket


def parse_addresses(text: str) -> tuple[ListenAddress, ...]:
    """Parse a comma-separated list of addresses; raises ValueError for an unusable one."""
    addresses = tuple(_parse_address(part.strip()) for part in text.split(","))
    for index, one in enumerate(addresses):
        if any(_overlap(one, other) for other in addresses[:index]):
            raise ValueError("two addresses overlap")
    if len({isinstance(address, InheritedSocket) for address in addresses}) > 1:
        # gunicorn would ignore the other addresses.
        raise ValueError("inherited sockets cannot be combined with other addresses")
    return addresses


def parse_origin(text: str) -> tuple[str, str]:
    """The scheme and the host of a URL without a path; the host includes a non-default port.

    Both are empty for an empty text. Raises ValueError for anything else.
    """
    if not text:
        return "", ""
    scheme, separator, host = text.partition("://")
    scheme = scheme.lower()
    host = host.removesuffix("/").lower()
    if scheme not in ("http", "https") or not separator:
        raise ValueError("not an http or https URL")
    name, _, port = host.rpartition(":")
    if not name or host.endswith("]"):
        name = host
    elif _parse_port(port) == _STANDARD_PORTS[scheme]:
        host = name
    _parse_host(name)
    return scheme, host


def _parse_address(text: str) -> ListenAddress:
    if text.startswith("unix:"):
        return _parse_unix(text.removeprefix("unix:"))
    if text.startswith("fd://"):
        number = text.removeprefix("fd://")
        if not _DESCRIPTOR.fullmatch(number):
            raise ValueError("not a descriptor number")
        return InheritedSocket(int(number))
    host, separator, port = text.removeprefix("tcp://").rpartition(":")
    if not separator:
        raise ValueError("no port")
    return TcpAddress(_parse_host(host), _parse_port(port))


def _parse_unix(path: str) -> UnixAddress:
    # As in gunicorn, which searches the whole text for its prefix.
    path = path.removeprefix("//")
    if not path or path.endswith("/") or "unix:" in path or "\0" in path:
        raise ValueError("not a path for a socket")
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ValueError("the path is too long for a socket")
    return UnixAddress(path)


def _parse_host(text: str) -> str:
    """The host, in lower case and without brackets."""
    if text.startswith("[") and text.endswith("]"):
        if "%" in text:
            raise ValueError("cannot listen on an address with a zone")
        return str(ipaddress.IPv6Address(text[1:-1]))
    if not text.strip("0123456789."):
        return str(ipaddress.IPv4Address(text))
    if len(text) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, text.split("."))):
        raise ValueError("not a host name")
    return text.lower()


def _parse_port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > _LARGEST_PORT:
        raise ValueError("not a port")
    return int(text)


def _overlap(one: ListenAddress, other: ListenAddress) -> bool:
    """Whether listening on the second address fails while the first is in use."""
    if not isinstance(one, TcpAddress) or not isinstance(other, TcpAddress):
        return one == other
    if one.port != other.port or not one.port:
        return False
    if one.host == other.host:
        return True
    # The IPv6 wildcard also accepts IPv4 connections.
    both = {one.host, other.host}
    if _IPV6_WILDCARD in both:
        return True
    return _IPV4_WILDCARD in both and not (one.is_ipv6 or other.is_ipv6)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
