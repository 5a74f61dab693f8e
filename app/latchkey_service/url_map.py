"""Routing by method and path only."""

from __future__ import annotations

from typing import Any
from wsgiref.types import WSGIEnvironment

from werkzeug.routing import Map, MapAdapter


class PlainMap(Map):
    """A URL map that treats a request with ``Upgrade`` as an ordinary request.

    A server ignores ``Upgrade`` to a protocol that it does not support (RFC 9110 section 7.8).
    Werkzeug would search for a WebSocket route.
    """

    def bind_to_environ(
        self, environ: WSGIEnvironment | Any, *arguments: Any, **options: Any
    ) -> MapAdapter:
        """Called by Flask with the environ of each request."""
        adapter = super().bind_to_environ(environ, *arguments, **options)
        if adapter.websocket:
            adapter.websocket = False
            adapter.url_scheme = adapter.url_scheme.replace("ws", "http")
        return adapter
