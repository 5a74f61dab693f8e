"""Routing by method and path only."""

from __future__ import annotations

from typing import Any
from wsgiref.types import WSGIEnvironment

from werkzeug.datastructures import ImmutableDict
from werkzeug.routing import BaseConverter, Map, MapAdapter


class NotSelf(BaseConverter):
    """A part of a path, but not ``self``, which has a route of its own with other methods."""

    regex = "(?!self$)[^/]+"
    part_isolating = True


class PlainMap(Map):
    """A URL map that treats a request with ``Upgrade`` as an ordinary request.

    A server ignores ``Upgrade`` to a protocol that it does not support (RFC 9110 section 7.8).
    Werkzeug would search for a WebSocket route.
    """

    default_converters = ImmutableDict({**Map.default_converters, "not_self": NotSelf})

    def bind_to_environ(
        self, environ: WSGIEnvironment | Any, *arguments: Any, **options: Any
    ) -> MapAdapter:
        """Called by Flask with the environ of each request."""
        adapter = super().bind_to_environ(environ, *arguments, **options)
        if adapter.websocket:
            adapter.websocket = False
            adapter.url_scheme = adapter.url_scheme.replace("ws", "http")
        return adapter
