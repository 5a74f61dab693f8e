"""The environ of WSGI that a check reads, for a scope of ASGI."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from wsgiref.types import WSGIEnvironment

AsgiScope = MutableMapping[str, Any]

_PAIR_FAMILY = b"x-api-"
# The headers that a check reads, apart from that family.
_VARIABLES = {
    b"authorization": "HTTP_AUTHORIZATION",
    b"x-api-key": "HTTP_X_API_KEY",
    b"x-api-secret": "HTTP_X_API_SECRET",
    b"x-forwarded-for": "HTTP_X_FORWARDED_FOR",
}


def environ_of(scope: AsgiScope, prefix: str = "") -> WSGIEnvironment:
    """The variables of WSGI (PEP 3333) that a check reads, for an ASGI scope.

    PATH_INFO is the path that routers match: without ``root_path``, or without ``prefix`` if that
    is given. Repeated headers are joined with a comma. A header name with an underscore is another
    name than one with a hyphen, and is not read.
    """
    path = _routed(scope["path"], prefix or scope.get("root_path", ""))
    client = scope.get("client")
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope.get("method", "GET"),
        "PATH_INFO": path if path.isascii() else _on_the_wire(path),
        "REMOTE_ADDR": client[0] if client else "",
    }
    for name, value in scope["headers"]:
        name = name.lower()
        variable = _VARIABLES.get(name)
        if variable is None:
            if not name.startswith(_PAIR_FAMILY) or b"_" in name:
                continue
            variable = f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}"
        text = value.decode("latin-1")
        environ[variable] = f"{environ[variable]},{text}" if variable in environ else text
    return environ


def _routed(path: str, root_path: str) -> str:
    """The path below ``root_path``, as Starlette's router computes it."""
    if not root_path or not path.startswith(root_path):
        return path
    rest = path[len(root_path) :]
    return rest if not rest or rest[0] == "/" else path


def _on_the_wire(path: str) -> str:
    return path.encode("utf-8", "surrogatepass").decode("latin-1")
