"""The routes together: one blueprint for each resource, and what of it is open."""

from __future__ import annotations

from flask import Flask, request
from werkzeug.routing import RequestRedirect

from app.api.account import account
from app.api.credentials import add_registration, credentials
from app.api.docs import docs
from app.api.health import health
from app.api.metrics import metrics
from app.api.openapi import new_app
from app.auth import OpenRoutes
from app.auth.error_handlers import answer_every_error
from app.config import Settings
from app.errors import NotFound

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
    answer_every_error(app)
    app.before_request(_refuse_other_spellings)
    return app


def _refuse_other_spellings() -> None:
    """Answer 404 where the router would be lenient: leading slashes, a missing last one."""
    lenient = isinstance(request.routing_exception, RequestRedirect)
    if lenient or request.environ.get("PATH_INFO", "").startswith("//"):
        raise NotFound


def open_routes(settings: Settings) -> OpenRoutes:
    """What needs no credential; a closed registration is a route that is not there."""
    registration_open = settings.registration == "open"
    return OpenRoutes(_OPEN | ({_REGISTRATION} if registration_open else set()), _AREAS)
