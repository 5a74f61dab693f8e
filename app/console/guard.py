"""What stands before and behind every page of the console: default deny, and headers.

Every request without a session leads to the sign-in, also one for a page that does not exist,
except for what is marked by ``open_to_all`` and the static files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import Flask, Response, current_app, request

View = TypeVar("View", bound=Callable[..., object])

STATIC = "static"

_OPEN = "__latchkey_open_to_all__"
# Nothing inline, nothing from elsewhere, no page of others around it.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def open_to_all(view: View) -> View:
    """Let a view be asked without a session."""
    setattr(view, _OPEN, True)
    return view


def is_open(app: Flask, endpoint: str | None) -> bool:
    """Whether a view, or what there is in place of one, needs no session."""
    if endpoint is None:
        return False
    return endpoint == STATIC or hasattr(app.view_functions[endpoint], _OPEN)


def needs_session() -> bool:
    """Whether the request that is being handled needs a session."""
    return not is_open(current_app, request.endpoint)


def add_headers(response: Response) -> Response:
    """Add what every answer of the console carries; pages are kept by no cache."""
    response.headers.update(_HEADERS)
    if request.endpoint != STATIC:
        response.headers["Cache-Control"] = "no-store"
    return response
