"""The client's address: that of the connection, or the one that trusted proxies forward.

The throttles, the audit log and the last addresses of a key all get addresses from this module.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from wsgiref.types import WSGIEnvironment

Address = IPv4Address | IPv6Address

# Longer than the longest accepted form: a quoted IPv6 address with a zone and a port.
_LONGEST = 128
# A port, or the obfuscated port that RFC 7239 section 6 allows in its place.
_PORT = re.compile(r"[0-9]{1,5}|_[A-Za-z0-9._-]{1,32}", re.ASCII)
_LARGEST_PORT = 65_535
_IPV6_GROUPS = 8
_IPV6_HOST_BITS = 64


class ClientAddresses:
    """Identifies callers by address behind a known number of proxies."""

    def __init__(self, trusted_proxies: int = 0, *, or_peer: bool = True) -> None:
        """``trusted_proxies`` is the number of proxies in front; with 0, headers are ignored.

        The caller's address is that many entries from the right of ``X-Forwarded-For``. Without
        ``or_peer``, the peer's address never stands for a missing one.
        """
        self.trusted_proxies = trusted_proxies
        self._or_peer = or_peer
        self.source = "HTTP_X_FORWARDED_FOR" if trusted_proxies else "REMOTE_ADDR"
        """The variable of the environ that tells the address."""

    def forwarded(self, environ: WSGIEnvironment) -> Address | None:
        """The forwarded address; None if the list is too short or the entry is not an address."""
        return self.certain(environ) if self.trusted_proxies else None

    def certain(self, environ: WSGIEnvironment) -> Address | None:
        """The caller's address for a decision; None if it is not known.

        Behind trusted proxies, a missing, short or invalid ``X-Forwarded-For`` is no address: the
        peer's would be that of a proxy.
        """
        return address_in(environ.get(self.source, ""), self.trusted_proxies)

    def find(self, environ: WSGIEnvironment) -> Address | None:
        """The forwarded address, else the peer's; None for a peer without one (a unix socket)."""
        forwarded = self.forwarded(environ)
        if forwarded is not None or not self._or_peer:
            return forwarded
        return parse_address(environ.get("REMOTE_ADDR", ""))

    def written(self, environ: WSGIEnvironment) -> str | None:
        """The same address as text in its canonical form."""
        address = self.find(environ)
        return None if address is None else str(address)

    def counted(self, environ: WSGIEnvironment) -> str:
        """The text by which the caller is counted: an IPv6 address is counted by its /64.

        A peer without an address is counted by the text that the server reports for it. If the peer
        does not count, all callers without an address are counted together.
        """
        forwarded = self.forwarded(environ)
        if forwarded is not None:
            return counted_as(forwarded)
        if not self._or_peer:
            return ""
        return _peer_counted_as(environ.get("REMOTE_ADDR", ""))


def address_in(source: str, trusted_proxies: int) -> Address | None:
    """The address in the peer's text or, behind trusted proxies, in ``X-Forwarded-For``; or None.

    The entry of that header is the one that the first of our proxies added.
    """
    if not trusted_proxies:
        return parse_address(source)
    entries = source.split(",")
    if len(entries) < trusted_proxies:
        return None
    return parse_address(entries[-trusted_proxies])


def parse_address(text: str) -> Address | None:
    """Parse an address in the forms that servers and proxies use; None if it is not an address.

    IPv6 may be in brackets and may have a zone, which is dropped. A port may follow, and the whole
    may be quoted (RFC 7239). An IPv4-mapped address is returned as IPv4.
    """
    return _parse(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=4_096)
def counted_as(address: Address) -> str:
    """The IPv4 address, or the /64 of an IPv6 address: one caller usually controls all of it."""
    if isinstance(address, IPv4Address):
        return str(address)
    prefix = int(address) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS
    return f"{IPv6Address(prefix)}/64"


@lru_cache(maxsize=4_096)
def _peer_counted_as(peer: str) -> str:
    # Cached by text: the hash of an address object is computed in Python, and refusals can be many.
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
        # An IPv4-mapped address is written as IPv6, so what follows the last colon is not a port.
        return address if ":" in host else None
    return _plain(text) or _before_port(text)


def _before_port(text: str) -> Address | None:
    """Parse an address with a port and without brackets, if the port cannot be an IPv6 group.

    That is the case for IPv4, for IPv6 with an embedded IPv4 address, and for IPv6 with all groups.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not _is_port(port):
        return None
    is_whole = "::" not in host and host.count(":") == _IPV6_GROUPS - 1
    return _plain(host) if is_whole or "." in host.rpartition(":")[2] else None


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and (text[0] == "_" or int(text) <= _LARGEST_PORT)


def _plain(text: str) -> Address | None:
    """Parse an address without a port."""
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
