"""Checks at the start that the open routes and the views' declarations are consistent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flask import Flask
from flask.views import http_method_funcs
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule

from latchkey.check.open_routes import OpenRoutes
from latchkey.errors import ConfigurationError
from latchkey.flask.declarations import (
    Requirements,
    declares_for_method,
    place_of,
    requirements_of,
)

_ALL_METHODS = frozenset(name.upper() for name in http_method_funcs)
_ADD = "add @require_scope(...) or @any_credential to"


def check_declarations(app: Flask, open_routes: OpenRoutes, *, complete: bool = True) -> None:
    """Raise ConfigurationError unless open routes and views' declarations are consistent.

    A protected route declares what it requires; an open one declares nothing. ``complete`` is False
    while views may still be added: an open route without a view is then accepted.
    """
    faults = [
        fault for rule in app.url_map.iter_rules() for fault in _faults(app, rule, open_routes)
    ]
    if complete:
        faults += _faults_of_names(app, open_routes)
    if faults:
        raise ConfigurationError("; ".join(dict.fromkeys(faults)))


def is_flasks_own(view: Callable[..., object]) -> bool:
    """Whether a view is Flask's own, for static files: it is closed unless a route opens it."""
    return getattr(view, "__module__", None) in ("flask.app", "flask.blueprints")


def _faults(app: Flask, rule: Rule, open_routes: OpenRoutes) -> Iterator[str]:
    view = app.view_functions.get(rule.endpoint)
    if view is None or rule.build_only:
        return
    methods = set(_ALL_METHODS if rule.methods is None else rule.methods)
    if getattr(rule, "provide_automatic_options", False):
        # Flask answers without calling the view.
        methods.discard("OPTIONS")
    protected = {method for method in methods if not open_routes.opens(method, rule.rule)}
    for method in sorted(methods):
        if method == "HEAD" and "GET" in methods and ("GET" in protected) == ("HEAD" in protected):
            # Reported for GET, unless the class has its own HEAD method.
            if requirements_of(view, "HEAD") == requirements_of(view, "GET"):
                continue
        declared = requirements_of(view, method)
        if method in protected and not declared and not is_flasks_own(view):
            yield (
                f"the protected route {method} {rule.rule} declares no requirement: {_ADD} "
                f"{place_of(view, method)} (the view {rule.endpoint}), or open the route by name"
            )
        for name in sorted(_named_arguments(declared) - rule.arguments):
            yield (
                f"{method} {rule.rule} has no argument {name}, which the declaration at "
                f"{place_of(view, method)} (the view {rule.endpoint}) names"
            )
        if method not in protected and declared and not open_routes.may_be_inside(rule.rule):
            if open_routes.is_outside(rule.rule):
                yield (
                    f"{method} {rule.rule} declares a requirement, but it is outside of "
                    f"{', '.join(open_routes.only or ())}: add its path to `only`, or remove the "
                    f"declaration from {place_of(view, method)} (the view {rule.endpoint})"
                )
                continue
            preflight = (
                method == "OPTIONS"
                and open_routes.names(method, rule.rule)
                and protected
                and not declares_for_method(view, method)
            )
            if not preflight:
                yield (
                    f"{method} {rule.rule} declares a requirement, but it is open: remove it from "
                    f"the open routes, or remove the declaration from {place_of(view, method)} "
                    f"(the view {rule.endpoint})"
                )


def _faults_of_names(app: Flask, open_routes: OpenRoutes) -> Iterator[str]:
    """Open routes that match no rule of the application, or only one path of a rule."""
    for method, path in sorted(open_routes.rules):
        if not any(rule.rule == path and _has(rule, method) for rule in app.url_map.iter_rules()):
            yield f"{method} {path} is open by name, but the application has no such rule"
    if app.url_map.host_matching:
        return
    adapter = app.url_map.bind("localhost", subdomain=app.url_map.default_subdomain)
    for method, path in sorted(open_routes.routes - open_routes.rules):
        try:
            rule, _ = adapter.match(path, method, return_rule=True)
        except HTTPException:
            continue
        if not open_routes.opens(method, rule.rule):
            yield (
                f"{method} {path}, which is open by name, is one path of the rule {rule.rule}: "
                "open that rule, or give the path a rule of its own"
            )


def _named_arguments(declared: Requirements) -> set[str]:
    """The view arguments that declarations name."""
    return {name for one in declared for name in (one.of, one.own) if name is not None}


def _has(rule: Rule, method: str) -> bool:
    return rule.methods is None or method in rule.methods
