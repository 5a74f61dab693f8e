"""Questions about an original request, as each proxy asks them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HOST = "api.example.com"
ADDRESS = "192.0.2.7"
FAMILIES = {
    "nginx": "X-Original",
    "haproxy": "X-Original",
    "traefik": "X-Forwarded",
    "caddy": "X-Forwarded",
}
PROXIES = (*FAMILIES, "envoy")
IDENTITY = (
    *("x-latchkey-key", "x-latchkey-account", "x-latchkey-external-id"),
    *("x-latchkey-mode", "x-latchkey-scopes", "x-latchkey-metadata"),
)
"""The headers of every answer that lets a request pass, in lower case."""


@dataclass(frozen=True)
class Question:
    """What a proxy sends: the method, the target, and the headers in order."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    def wire(self, *more: str) -> bytes:
        """The request as bytes, with more header lines."""
        lines = [f"{name}: {value}" for name, value in self.headers]
        head = "\r\n".join([f"{self.method} {self.target} HTTP/1.1", *lines, *more])
        return f"{head}\r\n\r\n".encode("latin-1")


def question(
    proxy: str,
    *,
    method: str = "GET",
    target: str = "/orders",
    host: str = HOST,
    address: str | None = ADDRESS,
    query: str = "",
    headers: Mapping[str, str] | None = None,
) -> Question:
    """What ``proxy`` asks about this original request; ``query`` is that of its configured URL."""
    more = tuple((headers or {}).items())
    if address is not None:
        more = (*more, ("X-Forwarded-For", address))
    if proxy == "envoy":
        return Question(method, f"/verify/envoy{target}", (("Host", host), *more))
    family = FAMILIES[proxy]
    own = [
        ("Host", "latchkey"),
        (f"{family}-Method", method),
        (f"{family}-URI" if family == "X-Original" else f"{family}-Uri", target),
        (f"{family}-Host", host),
    ]
    suffix = f"?{query}" if query else ""
    # HAProxy asks by HEAD in some configurations; the others always by GET.
    return Question("GET", f"/verify/{proxy}{suffix}", (*own, *more))
