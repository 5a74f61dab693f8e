"""What a Flask view requires of its caller: declared on the view, enforced before it is called.

A view behind the middleware declares ``@require_scope("credentials:read")`` or
``@any_credential``. One that declares nothing stops the start, and is refused if it gets that far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

from flask import Flask, Request, request
from werkzeug.local import LocalProxy

from app.auth._requirements import Enforcement
from app.auth.middleware import PRINCIPAL_KEY, OpenRoutes
from app.credentials.models import Principal
from app.credentials.scopes import KNOWN_SCOPES, permits
from app.errors import ConfigurationError, InsufficientScope, MissingCredential

View = TypeVar("View", bound=Callable[..., object])

_ATTRIBUTE = "__latchkey_requirement__"

# The request itself: each use of the proxy would look it up again.
_current_request: Callable[[], Request] = request._get_current_object  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Requirement:
    """A scope, or None where any credential will do.

    ``own`` names a view argument: where that is the caller's own key, no scope is needed.
    ``sufficient`` are the known scopes each of which is enough.
    """

    scope: str | None
    own: str | None = None
    sufficient: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        needed = self.scope
        enough = () if needed is None else (s for s in KNOWN_SCOPES if permits((s,), needed))
        object.__setattr__(self, "sufficient", frozenset(enough))

    def check(self, principal: Principal, view_arguments: dict[str, object]) -> None:
        """Raise InsufficientScope unless the principal meets it."""
        if self.scope is None or not self.sufficient.isdisjoint(principal.scopes):
            return
        if self.own is not None and view_arguments.get(self.own) == principal.api_key:
            return
        raise InsufficientScope(self.scope)


def require_scope(scope: str, *, or_own: str | None = None) -> Callable[[View], View]:
    """Declare that a view needs ``scope``; raises ValueError for one that is not known.

    With ``or_own="api_key"`` a caller may also act on its own key, named by that view argument.
    """
    if scope not in KNOWN_SCOPES:
        raise ValueError(f"unknown scope {scope!r}; known are {', '.join(KNOWN_SCOPES)}")
    return _declare(Requirement(scope, or_own))


def any_credential(view: View) -> View:
    """Declare that a view needs a valid credential and no particular scope."""
    return _declare(Requirement(None))(view)


def _declare(requirement: Requirement) -> Callable[[View], View]:
    def decorate(view: View) -> View:
        setattr(view, _ATTRIBUTE, requirement)
        return view

    return decorate


def _current_principal() -> Principal:
    principal = request.environ.get(PRINCIPAL_KEY)
    if principal is None:
        raise RuntimeError("this route is open: nobody has been authenticated")
    return cast(Principal, principal)


current_principal = cast(Principal, LocalProxy(_current_principal))
"""The principal of the request that is being handled; RuntimeError on an open route."""


def enforce_requirements(app: Flask, on_refusal: Callable[[Principal], None] | None = None) -> None:
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
        requirement: Requirement | None = getattr(views[rule.endpoint], _ATTRIBUTE, None)
        if requirement is None:
            if principal is None:
                return
            raise ConfigurationError(f"the view {rule.endpoint} declares no requirement")
        if principal is None:
            # Open by its path, protected by its declaration: the stricter of the two holds.
            raise MissingCredential
        try:
            requirement.check(principal, handled.view_args or {})
        except InsufficientScope:
            if on_refusal is not None:
                on_refusal(principal)
            raise

    # Flask's own hooks cost more than the check: it asks of each, at each request, what it is.
    app.preprocess_request = Enforcement(  # type: ignore[method-assign]
        app.preprocess_request, _current_request, views, examine
    )


def check_declarations(app: Flask, open_routes: OpenRoutes) -> None:
    """Raise ConfigurationError where what is open and what views declare do not fit together.

    A protected route declares a scope or any credential, and an open one declares nothing.
    """
    for rule in app.url_map.iter_rules():
        protected = [
            method
            for method in sorted(rule.methods or ())
            if not open_routes.admits(method, rule.rule)
        ]
        declared = hasattr(app.view_functions[rule.endpoint], _ATTRIBUTE)
        if declared and not protected:
            raise ConfigurationError(f"{rule.rule} declares a requirement, but it is open")
        if protected and not declared:
            raise ConfigurationError(
                f"the protected route {protected[0]} {rule.rule} declares no requirement: "
                "add @require_scope(...) or @any_credential to its view"
            )
