"""The application of the main scenario: the same view, open and protected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask, Response

from benchmarks.load.paths import BARE, OPEN, OPEN_TOO, PROTECTED, TRIVIAL
from latchkey import Latchkey, OpenRoutes, any_credential
from latchkey_service.api.metrics import show_metrics

_ROUTES = OpenRoutes(frozenset({("GET", OPEN), ("GET", OPEN_TOO), ("GET", "/metrics")}))


def _new_view() -> Callable[[], dict[str, str]]:
    """The view of each path: the same work, independent of the caller."""

    def show_account() -> dict[str, str]:
        return {"object": "account", "id": "acct_0", "name": "load", "mode": "live"}

    return show_account


def _new_protected() -> Flask:
    app = Flask("twins")
    app.add_url_rule(OPEN, "open", _new_view())
    app.add_url_rule(OPEN_TOO, "open_too", _new_view())
    app.add_url_rule(PROTECTED, "protected", any_credential(_new_view()))
    metrics: Callable[[], Response] = show_metrics
    app.add_url_rule("/metrics", "metrics", metrics)
    Latchkey.join().protect(app, _ROUTES)
    return app


def _new_bare() -> Flask:
    app = Flask("bare")
    app.add_url_rule(BARE, "bare", _new_view())
    return app


_protected = _new_protected().wsgi_app
_bare = _new_bare().wsgi_app


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Handle a WSGI call (PEP 3333)."""
    path = environ["PATH_INFO"]
    if path == BARE:
        return _bare(environ, start_response)
    if path == TRIVIAL:
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]
    return _protected(environ, start_response)
