"""Enforcement of what a Flask view requires of its caller, before the view is called.

A view behind the middleware declares its requirement (declarations.py). A view without a
declaration is an error at the start. If it is added later, its requests are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast
from wsgiref.types import WSGIEnvironment

from flask import Flask, Request, has_request_context, request
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.local import LocalProxy
from werkzeug.routing import MapAdapter, RequestRedirect, Rule

from latchkey.check.open_routes import NOTHING_OPEN, OpenRoutes
from latchkey.credentials.models import Principal
from latchkey.current import CURRENT
from latchkey.errors import (
    ApiError,
    ConfigurationError,
    InsufficientScope,
    MissingCredential,
    NoPrincipal,
)
from latchkey.flask._requirements import Enforcement
from latchkey.flask.declarations import (
    any_credential,
    cost_of,
    require_scope,
    requirements_of,
    sufficient_scopes,
)
from latchkey.flask.error_handlers import REFUSAL_KEY
from latchkey.flask.start_check import is_flasks_own
from latchkey.wsgi_answers import PRINCIPAL_KEY

__all__ = [
    "any_credential",
    "current_principal",
    "enforce_requirements",
    "principal_or_none",
    "require_scope",
    "router_of",
]

# The request itself: each use of the proxy would look it up again.
_current_request: Callable[[], Request] = request._get_current_object  # type: ignore[attr-defined]


def principal_or_none() -> Principal | None:
    """The principal of the current request; None on an open route and outside of a request.

    For hooks, error handlers and log filters, which also run in those cases. It works in Flask, and
    behind the ASGI middleware.
    """
    if not has_request_context():
        return CURRENT.get()
    return cast("Principal | None", request.environ.get(PRINCIPAL_KEY))


class _CurrentPrincipal(LocalProxy[Principal]):
    """The proxy; unlike LocalProxy, it has a text form even without a principal."""

    __slots__ = ()

    def __repr__(self) -> str:
        principal = principal_or_none()
        return "<no principal>" if principal is None else repr(principal)

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, specification: str) -> str:
        return format(repr(self), specification)


def _current_principal() -> Principal:
    principal = principal_or_none()
    if principal is None:
        raise NoPrincipal
    return principal


current_principal = cast(Principal, _CurrentPrincipal(_current_principal))
"""The principal of the current request; raises NoPrincipal if there is none."""


def enforce_requirements(
    app: Flask,
    on_refusal: Callable[[Principal], None] | None = None,
    open_routes: OpenRoutes = NOTHING_OPEN,
    spend: Callable[[WSGIEnvironment, int], None] | None = None,
) -> None:
    """Check every view's declared requirement after routing and before the body is read.

    A missing route or method is answered with 404 or 405 first, as in any Flask application. Hooks
    that run before requests also come first. If one of them answers, the caller must meet the
    requirement as well. ``on_refusal`` is called with a caller that lacks a scope. ``spend`` takes
    units from the limits of a request's key, for views with a cost above 1; it raises LimitReached.
    """
    views = app.view_functions

    def examine(handled: Request) -> None:
        if PRINCIPAL_KEY not in handled.environ:
            refusal = handled.environ.get(REFUSAL_KEY)
            if isinstance(refusal, ApiError):
                raise refusal
            raise ConfigurationError(
                "the request did not come through the middleware: call Latchkey.protect"
            )
        rule = handled.url_rule
        if rule is None:
            return
        principal: Principal | None = handled.environ[PRINCIPAL_KEY]
        method = handled.method
        view = views[rule.endpoint]
        requirements = requirements_of(view, method)
        if principal is None:
            # The path is open, so the matched rule must be open, too. A preflight request of a rule
            # that is open by name needs nothing else; otherwise a declared requirement takes
            # precedence.
            preflight = method == "OPTIONS" and open_routes.names(method, rule.rule)
            if preflight or (open_routes.opens(method, rule.rule) and not requirements):
                if rule.methods is not None:
                    enforcement.learn_open(rule.rule, view, method)
                return
            raise MissingCredential
        if method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
            # Flask answers without calling the view.
            return
        if not requirements:
            if open_routes.opens(method, rule.rule):
                # The middleware did not recognise the path as open, so it checked the credential.
                return
            if is_flasks_own(view):
                raise NotFound
            raise ConfigurationError(f"the view {rule.endpoint} declares no requirement")
        cost = cost_of(requirements)
        if rule.methods is not None and cost == 1:
            # Only methods of the rule: callers could send any number of others.
            enforcement.learn(rule.endpoint, view, method, sufficient_scopes(requirements))
        try:
            for requirement in requirements:
                requirement.check(principal, handled.view_args or {})
        except InsufficientScope:
            if on_refusal is not None:
                on_refusal(principal)
            raise
        if cost > 1 and spend is not None:
            # The middleware has taken 1.
            spend(handled.environ, cost - 1)

    # Flask's own hooks cost more than the check: it inspects each hook at each request.
    enforcement = Enforcement(app.preprocess_request, _current_request, views, examine)
    app.preprocess_request = enforcement  # type: ignore[method-assign]


def router_of(app: Flask, open_routes: OpenRoutes) -> Callable[[WSGIEnvironment], bool]:
    """A function that decides whether the application routes a request to an open rule.

    The path alone is not sufficient for rules with placeholders, and for the redirect that adds the
    trailing slash of a rule.
    """

    def is_open(environ: WSGIEnvironment) -> bool:
        method = environ["REQUEST_METHOD"]
        if not open_routes.may_admit(environ.get("PATH_INFO", "")):
            return False
        try:
            adapter = app.create_url_adapter(app.request_class(environ, populate_request=False))
            rule = None if adapter is None else _route(adapter)
        except HTTPException:
            # Not found, another method, another redirect, or an untrusted host.
            return False
        return rule is not None and open_routes.names(method, rule.rule)

    return is_open


def _route(adapter: MapAdapter) -> Rule:
    try:
        return adapter.match(return_rule=True)[0]
    except RequestRedirect:
        return adapter.match(f"{adapter.path_info}/", return_rule=True)[0]
