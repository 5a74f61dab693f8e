"""Checks of how a request reached the console: the host name, and whether HTTPS was used."""

from __future__ import annotations

import re
from wsgiref.types import WSGIEnvironment

from latchkey.binding import parse_origin
from latchkey.config import Settings

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


class AllowedHosts:
    """The host names that the console accepts.

    This stops DNS rebinding: a foreign page whose host name resolves to this service sends that
    name, and is refused.
    """

    def __init__(self, listed: str, public_url: str = "") -> None:
        """``listed`` is comma-separated. A name without a port permits any port.

        The host of ``public_url`` is also accepted.
        """
        names = {name.strip().lower() for name in listed.split(",")}
        self._names = frozenset(names | {parse_origin(public_url)[1]} - {""})

    def allow(self, host: str) -> bool:
        """Whether this value of ``Host`` is accepted."""
        written = _HOST.fullmatch(host.lower())
        return written is not None and (written[0] in self._names or written[1] in self._names)


def is_tls(environ: WSGIEnvironment, settings: Settings) -> bool:
    """Whether the browser used HTTPS, according to the settings and trusted proxies."""
    if settings.console_tls == "on" or environ.get("wsgi.url_scheme") == "https":
        return True
    if not settings.trusted_proxies:
        return False
    # A proxy replaces the header or appends to it. Use the entry of the outermost trusted proxy.
    schemes: list[str] = environ.get("HTTP_X_FORWARDED_PROTO", "").split(",")
    outermost = schemes[-min(settings.trusted_proxies, len(schemes))]
    return outermost.strip().lower() == "https"
