"""Routing that looks at the method and the path only."""

from __future__ import annotations

from typing import Any
from wsgiref.types import WSGIEnvironment

from werkzeug.routing import Map, MapAdapter


class PlainMap(Map):
    """A map of routes for which a request to upgrade the connection is an ordinary request.

    A server that does not know the protocol ignores ``Upgrade`` (RFC 9110 section 7.8); werkzeug
    would look for a route of WebSockets.
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
