"""The original request that a proxy asks about, read from the headers of that proxy only.

Each proxy has a route of its own, so a request cannot choose the headers that are believed.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from wsgiref.types import WSGIEnvironment

from latchkey.errors import InvalidRequest
from latchkey_service.repeated_headers import is_repeated

AREA = "/verify/"
_ENVOY = f"{AREA}envoy"
_METHOD = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
_HOST = frozenset(string.ascii_lowercase + string.digits + "-._[:]")


class Original(NamedTuple):
    """The request that the client sent to the proxy.

    ``target`` is raw. ``host`` is in lower case, without a port and without a dot at its end.
    """

    method: str
    target: str
    host: str


@dataclass(frozen=True, slots=True)
class Proxy:
    """A kind of proxy. ``read`` raises InvalidRequest if it did not describe the request."""

    name: str
    read: Callable[[WSGIEnvironment], Original]
    headers: tuple[str, ...]
    """The headers that describe the original request, besides the client's address."""
    reads_query: bool = True
    """Whether the query of the route is the operator's. Envoy appends the client's."""


def _proxy_with(name: str, *headers: str) -> Proxy:
    """A proxy that sends method, target and host in these headers."""
    method, target, host = map(_Header, headers)

    def read(environ: WSGIEnvironment) -> Original:
        return Original(
            method_of(method.read(environ)), target.read(environ), host_of(host.read(environ))
        )

    return Proxy(name, read, headers)


def _read_envoy(environ: WSGIEnvironment) -> Original:
    """Envoy sends the client's own method and host, and its target behind the route."""
    target: str = environ["RAW_URI"].removeprefix(_ENVOY)
    host = host_of(_HOST_HEADER.read(environ))
    return Original(method_of(environ["REQUEST_METHOD"]), target, host)


def variable_of(name: str) -> str:
    """The variable of the environ that has the value of a header."""
    return f"HTTP_{name.upper().replace('-', '_')}"


class _Header:
    """A header that a proxy sends exactly once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._key = variable_of(name)

    def read(self, environ: WSGIEnvironment) -> str:
        """The value; raises InvalidRequest if it is missing, empty or repeated."""
        value: str = environ.get(self._key, "")
        if not value:
            raise InvalidRequest(f"The proxy must send the header {self._name}")
        if is_repeated(environ, self._name.upper()):
            raise InvalidRequest(f"The proxy must send the header {self._name} only once")
        return value


_HOST_HEADER = _Header("Host")


@lru_cache(maxsize=256)
def method_of(text: str) -> str:
    """The text, if it can be the method of a request; raises InvalidRequest otherwise."""
    if not _METHOD.issuperset(text):
        raise InvalidRequest("The original method is not a valid method")
    return text


@lru_cache(maxsize=1_024)
def host_of(text: str) -> str:
    """A host in lower case, without its port; raises InvalidRequest if it is not a host.

    A dot at the end is left out: proxies accept the absolute form of a name, ``api.example.com.``,
    as the same host, so it must not escape the rules of that host.
    """
    host, port = text.lower(), "0"
    # The colons of an IPv6 address are in brackets.
    end = host.find(":", host.rfind("]") + 1)
    if end >= 0:
        host, port = host[:end], host[end + 1 :]
    host = host.removesuffix(".")
    if (
        not host
        or host.endswith(".")
        or not _HOST.issuperset(host)
        or not (port.isascii() and port.isdigit())
    ):
        raise InvalidRequest("The original host is not a valid host")
    return host


_ORIGINAL = ("X-Original-Method", "X-Original-URI", "X-Original-Host")
_FORWARDED = ("X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host")

NGINX = _proxy_with("nginx", *_ORIGINAL)
HAPROXY = _proxy_with("haproxy", *_ORIGINAL)
TRAEFIK = _proxy_with("traefik", *_FORWARDED)
CADDY = _proxy_with("caddy", *_FORWARDED)
ENVOY = Proxy("envoy", _read_envoy, ("Host",), reads_query=False)
PROXIES = (NGINX, TRAEFIK, CADDY, ENVOY, HAPROXY)
