"""Where a request comes from: the peer's address, or the one that trusted proxies pass on.

Every part that needs a caller's address asks here: the throttles, the audit log, the last
addresses of a key.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from wsgiref.types import WSGIEnvironment

Address = IPv4Address | IPv6Address

# Longer than the longest form below: an IPv6 address with a zone and a port, in quotes.
_LONGEST = 128
# A port, or what RFC 7239 section 6 lets a proxy write in its place.
_PORT = re.compile(r"[0-9]{1,5}|_[A-Za-z0-9._-]{1,32}", re.ASCII)
_LARGEST_PORT = 65_535
_IPV6_GROUPS = 8
_IPV6_HOST_BITS = 64


class ClientAddresses:
    """Tells callers apart behind a known number of proxies."""

    def __init__(self, trusted_proxies: int = 0) -> None:
        """``trusted_proxies`` is how many proxies in front are ours; without any, no header counts.

        The caller's address is that many from the right of ``X-Forwarded-For``.
        """
        self.trusted_proxies = trusted_proxies

    def forwarded(self, environ: WSGIEnvironment) -> Address | None:
        """The address that the proxies pass on; None where the list is shorter or it is none."""
        if not self.trusted_proxies:
            return None
        entries: list[str] = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
        if len(entries) < self.trusted_proxies:
            return None
        return parse_address(entries[-self.trusted_proxies])

    def find(self, environ: WSGIEnvironment) -> Address | None:
        """The caller's address, else the peer's; None behind a socket that has none."""
        return self.forwarded(environ) or parse_address(environ.get("REMOTE_ADDR", ""))

    def written(self, environ: WSGIEnvironment) -> str | None:
        """The same as text, in the one way of writing it."""
        address = self.find(environ)
        return None if address is None else str(address)

    def counted(self, environ: WSGIEnvironment) -> str:
        """What stands for the caller where callers are counted: an IPv6 address by its /64.

        A peer without an address counts by the text that the server has for it.
        """
        forwarded = self.forwarded(environ)
        if forwarded is not None:
            return counted_as(forwarded)
        return _peer_counted_as(environ.get("REMOTE_ADDR", ""))


def parse_address(text: str) -> Address | None:
    """An address as servers and proxies write it; None if it is none.

    IPv6 may be in brackets and have a zone, which is left out. A port may follow, and quotation
    marks may enclose all of it (RFC 7239). An IPv4-mapped address is the IPv4 one.
    """
    return _parse(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=4_096)
def counted_as(address: Address) -> str:
    """An IPv4 address itself, of an IPv6 one the /64: one caller has all of that."""
    if isinstance(address, IPv4Address):
        return str(address)
    prefix = int(address) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS
    return f"{IPv6Address(prefix)}/64"


@lru_cache(maxsize=4_096)
def _peer_counted_as(peer: str) -> str:
    # By the text: the hash of an address is computed in Python, and refusals come in floods.
    address = parse_address(peer)
    return peer if address is None else counted_as(address)


@lru_cache(maxsize=4_096)
def _parse(text: str) -> Address | None:
    text = text.strip(" \t")
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not (rest[0] == ":" and _is_port(rest[1:]))):
            return None
        address = _plain(host)
        # What was mapped was written as IPv6.
        return address if ":" in host else None
    return _plain(text) or _before_port(text)


def _before_port(text: str) -> Address | None:
    """An address with a port and no brackets, where the port cannot be a group of IPv6.

    That is IPv4, IPv6 that ends as IPv4 does, and IPv6 with all of its groups.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not _is_port(port):
        return None
    is_whole = "::" not in host and host.count(":") == _IPV6_GROUPS - 1
    return _plain(host) if is_whole or "." in host.rpartition(":")[2] else None


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and (text[0] == "_" or int(text) <= _LARGEST_PORT)


def _plain(text: str) -> Address | None:
    """An address without a port."""
    host, percent, zone = text.partition("%")
    if percent and not zone:
        return None
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return None if percent else address
    return address.ipv4_mapped or address
