"""All routes: a blueprint for each resource, and the list of open routes."""

from __future__ import annotations

from flask import redirect, request
from flask_openapi3.openapi import OpenAPI
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Response

from latchkey import OpenRoutes
from latchkey.config import Settings
from latchkey.errors import NotFound
from latchkey.flask.error_handlers import answer_every_error
from latchkey_service.api.account import account
from latchkey_service.api.accounts import accounts
from latchkey_service.api.credentials import add_registration, credentials
from latchkey_service.api.docs import docs
from latchkey_service.api.health import health
from latchkey_service.api.metrics import metrics
from latchkey_service.api.openapi import new_app
from latchkey_service.api.verify import verify

_OPEN = frozenset(
    {
        ("GET", "/health"),
        ("GET", "/ready"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
    }
)
_REGISTRATION = ("POST", "/credentials")
# The console has its own sign-in, and also denies by default.
_AREAS = ("/docs/", "/console/")


def build_api(settings: Settings) -> OpenAPI:
    """The application with its routes, not yet protected."""
    app = new_app()
    # One spelling of each path, so that the middleware and the router compare the same text.
    app.url_map.merge_slashes = False
    for resource in (health, metrics, account, accounts, credentials, verify, docs):
        app.register_api(resource)
    if settings.registration == "open":
        add_registration(app)
    for area in _AREAS:
        app.add_url_rule(area.removesuffix("/"), "into", _redirect_into, methods=["GET"])
    answer_every_error(app)
    app.before_request(_refuse_other_spellings)
    return app


def _redirect_into() -> Response:
    """Redirect to the same path with a slash, where an open area begins.

    The target is a path without a host, because the caller controls the ``Host`` header.
    """
    query = request.query_string.decode("latin-1")
    target = f"{request.script_root}{request.path}/"
    return redirect(f"{target}?{query}" if query else target, 308)


def _refuse_other_spellings() -> None:
    """Answer 404 where the router would be lenient: extra leading slashes, a missing last slash."""
    lenient = isinstance(request.routing_exception, RequestRedirect)
    if lenient or request.environ.get("PATH_INFO", "").startswith("//"):
        raise NotFound


def open_routes(settings: Settings) -> OpenRoutes:
    """The routes that need no credential. A disabled registration is not among them."""
    routes = {*_OPEN, *(("GET", area.removesuffix("/")) for area in _AREAS)}
    if settings.registration == "open":
        routes.add(_REGISTRATION)
    return OpenRoutes(frozenset(routes), _AREAS)
