"""The routes together: one blueprint for each resource, and what of it is open."""

from __future__ import annotations

from flask import Flask, redirect, request
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Response

from latchkey import OpenRoutes
from latchkey.config import Settings
from latchkey.errors import NotFound
from latchkey.flask.error_handlers import answer_every_error
from latchkey_service.api.account import account
from latchkey_service.api.credentials import add_registration, credentials
from latchkey_service.api.docs import docs
from latchkey_service.api.health import health
from latchkey_service.api.metrics import metrics
from latchkey_service.api.openapi import new_app

_OPEN = frozenset(
    {
        ("GET", "/health"),
        ("GET", "/ready"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
    }
)
_REGISTRATION = ("POST", "/credentials")
# The console has its own login and denies by default in turn.
_AREAS = ("/docs/", "/console/")


def build_api(settings: Settings) -> Flask:
    """The application with its routes, not yet protected."""
    app = new_app()
    # One spelling of each path: what the middleware compares is what the router sees.
    app.url_map.merge_slashes = False
    for resource in (health, metrics, account, credentials, docs):
        app.register_api(resource)
    if settings.registration == "open":
        add_registration(app)
    for area in _AREAS:
        app.add_url_rule(area.removesuffix("/"), "into", _lead_into, methods=["GET"])
    answer_every_error(app)
    app.before_request(_refuse_other_spellings)
    return app


def _lead_into() -> Response:
    """Lead to the same address with a slash, where an open area begins.

    Only to the path: the host is what the caller says.
    """
    query = request.query_string.decode("latin-1")
    target = f"{request.script_root}{request.path}/"
    return redirect(f"{target}?{query}" if query else target, 308)


def _refuse_other_spellings() -> None:
    """Answer 404 where the router would be lenient: leading slashes, a missing last one."""
    lenient = isinstance(request.routing_exception, RequestRedirect)
    if lenient or request.environ.get("PATH_INFO", "").startswith("//"):
        raise NotFound


def open_routes(settings: Settings) -> OpenRoutes:
    """What needs no credential; a closed registration is a route that is not there."""
    routes = {*_OPEN, *(("GET", area.removesuffix("/")) for area in _AREAS)}
    if settings.registration == "open":
        routes.add(_REGISTRATION)
    return OpenRoutes(frozenset(routes), _AREAS)
