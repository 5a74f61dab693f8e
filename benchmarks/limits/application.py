"""The application of the measurements: one view, limited by Latchkey and by Flask-Limiter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Literal
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask, request
from flask_limiter import Limiter

from benchmarks.limits.plan import FIXED, LATCHKEY, MOVING, PATHS, RATE, WORKER
from latchkey import Latchkey, OpenRoutes, any_credential


def _new_view() -> Callable[[], dict[str, str]]:
    """The view of each subject."""

    def show() -> dict[str, str]:
        return {"object": "order"}

    return show


def _latchkey() -> Flask:
    """The rate is that of LATCHKEY_DEFAULT_LIMIT."""
    app = Flask("latchkey")
    app.add_url_rule(PATHS[LATCHKEY], "show", any_credential(_new_view()))
    Latchkey.join().protect(app, OpenRoutes(frozenset({("GET", "/health")})))
    app.add_url_rule("/health", "health", _new_view())
    return app


def _flask_limiter(path: str, strategy: Literal["fixed-window", "moving-window"]) -> Flask:
    """The rate counts per key, which is not checked."""
    app = Flask(strategy)
    limiter = Limiter(
        lambda: request.headers.get("Authorization", ""),
        app=app,
        storage_uri="memory://",
        strategy=strategy,
    )
    limited: Callable[[], dict[str, str]] = limiter.limit(f"{RATE}/second")(_new_view())
    app.add_url_rule(path, "show", limited)
    return app


_peers = {
    PATHS[FIXED]: _flask_limiter(PATHS[FIXED], "fixed-window").wsgi_app,
    PATHS[MOVING]: _flask_limiter(PATHS[MOVING], "moving-window").wsgi_app,
}
_ours = _latchkey().wsgi_app


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Handle a WSGI call (PEP 3333)."""
    if environ["PATH_INFO"] == WORKER:
        body = str(os.getpid()).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    return _peers.get(environ["PATH_INFO"], _ours)(environ, start_response)
