"""What a Flask view requires of its caller, enforced before it is called.

A view behind the middleware declares what it requires (declarations.py). One that declares nothing
stops the start, and is refused if it gets that far.
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
from latchkey.errors import ConfigurationError, InsufficientScope, MissingCredential, NoPrincipal
from latchkey.flask._requirements import Enforcement
from latchkey.flask.declarations import (
    any_credential,
    require_scope,
    requirements_of,
    sufficient_scopes,
)
from latchkey.flask.start_check import is_flasks_own
from latchkey.wsgi import PRINCIPAL_KEY

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
    """The principal of the request that is being handled; None where there is none.

    That is on an open route, and outside of a request. For hooks, error handlers and log filters,
    which run in every case.
    """
    if not has_request_context():
        return None
    return cast("Principal | None", request.environ.get(PRINCIPAL_KEY))


class _CurrentPrincipal(LocalProxy[Principal]):
    """The proxy, which can be shown also where there is no principal."""

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
"""The principal of the request that is being handled; NoPrincipal where there is none."""


def enforce_requirements(
    app: Flask,
    on_refusal: Callable[[Principal], None] | None = None,
    open_routes: OpenRoutes = NOTHING_OPEN,
) -> None:
    """Have every view's declared requirement checked after routing and before its body is read.

    A route or method that does not exist answers 404 or 405 first, as Flask does by itself; so do
    the hooks that run before requests, and where one of them answers, the caller must meet the
    requirement too. ``on_refusal`` is told of a caller that lacks a scope.
    """
    views = app.view_functions

    def examine(handled: Request) -> None:
        if PRINCIPAL_KEY not in handled.environ:
            raise ConfigurationError("the request did not come through the middleware")
        rule = handled.url_rule
        if rule is None:
            return
        principal: Principal | None = handled.environ[PRINCIPAL_KEY]
        method = handled.method
        view = views[rule.endpoint]
        requirements = requirements_of(view, method)
        if principal is None:
            # Open by its path: the rule that it leads to must be open too. A preflight that is
            # open by name meets no requirement; elsewhere a declared one is the stricter.
            preflight = method == "OPTIONS" and open_routes.names(method, rule.rule)
            if preflight or (open_routes.opens(method, rule.rule) and not requirements):
                return
            raise MissingCredential
        if method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
            # Flask answers, and does not call the view.
            return
        if not requirements:
            if open_routes.opens(method, rule.rule):
                # By another path than the middleware knows: then the credential was looked at.
                return
            if is_flasks_own(view):
                raise NotFound
            raise ConfigurationError(f"the view {rule.endpoint} declares no requirement")
        if rule.methods is not None:
            # Otherwise callers could have any number of methods learned.
            enforcement.learn(rule.endpoint, view, method, sufficient_scopes(requirements))
        try:
            for requirement in requirements:
                requirement.check(principal, handled.view_args or {})
        except InsufficientScope:
            if on_refusal is not None:
                on_refusal(principal)
            raise

    # Flask's own hooks cost more than the check: it asks of each, at each request, what it is.
    enforcement = Enforcement(app.preprocess_request, _current_request, views, examine)
    app.preprocess_request = enforcement  # type: ignore[method-assign]


def router_of(app: Flask, open_routes: OpenRoutes) -> Callable[[WSGIEnvironment], bool]:
    """A function that tells whether the application's router leads a request to an open rule.

    For what its path alone does not tell: rules with placeholders, and the redirect that adds the
    last slash of a rule.
    """

    def is_open(environ: WSGIEnvironment) -> bool:
        method = environ["REQUEST_METHOD"]
        if not open_routes.may_admit(environ.get("PATH_INFO", "")):
            return False
        try:
            adapter = app.create_url_adapter(app.request_class(environ, populate_request=False))
            rule = None if adapter is None else _route(adapter)
        except HTTPException:
            # Not found, another method, another redirect, or a host that is not trusted.
            return False
        return rule is not None and open_routes.names(method, rule.rule)

    return is_open


def _route(adapter: MapAdapter) -> Rule:
    try:
        return adapter.match(return_rule=True)[0]
    except RequestRedirect:
        return adapter.match(f"{adapter.path_info}/", return_rule=True)[0]
