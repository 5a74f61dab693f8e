"""The types in an own application, checked only by `mypy --strict`; never executed."""

from __future__ import annotations

from typing import ClassVar, assert_type
from wsgiref.types import WSGIApplication

from flask import Flask
from flask.views import MethodView, View

from latchkey import (
    Latchkey,
    OpenRoutes,
    Principal,
    any_credential,
    current_principal,
    principal_or_none,
    require_scope,
)

site = Flask(__name__)


def opened(names: list[str]) -> None:
    Latchkey.join().protect(site)
    Latchkey.join().protect(site, OpenRoutes(routes={("GET", "/")}, areas=("/static/",)))
    OpenRoutes({("GET", "/"), ("OPTIONS", "/orders/<int:id>")})
    OpenRoutes({("GET", name) for name in names})
    OpenRoutes({("OPTIONS", rule.rule) for rule in site.url_map.iter_rules()})
    OpenRoutes(frozenset({("GET", "/")}))
    OpenRoutes(OpenRoutes({("GET", "/")}).routes | {("GET", "/more")})
    OpenRoutes(areas=("/static/", "/docs/"))
    assert_type(OpenRoutes().areas, tuple[str, ...])
    OpenRoutes("GET /")  # type: ignore[arg-type]
    OpenRoutes({"/"})  # type: ignore[arg-type]
    OpenRoutes(areas="/static/")  # type: ignore[arg-type]


@site.get("/orders")
@require_scope("account:read")
def orders() -> dict[str, str]:
    assert_type(current_principal, Principal)
    return {"account": current_principal.account_id}


@site.get("/keys/<key>")
@require_scope("credentials:read", or_own="key")
def show_key(key: str) -> str:
    return key


@any_credential
def number(of: int) -> int:
    return of


def called() -> None:
    assert_type(number(1), int)
    assert_type(show_key("x"), str)
    number("1")  # type: ignore[arg-type]
    require_scope(5)  # type: ignore[arg-type]
    any_credential("x")  # type: ignore[type-var]


class Orders(MethodView):
    """Declared by method, and for all methods."""

    decorators: ClassVar = [any_credential]

    @require_scope("account:read")
    def get(self, number: int) -> str:
        return str(number)


@require_scope("account:read")
class Marked(View):
    """Declared on the class."""

    def dispatch_request(self) -> str:
        return "x"


def registered() -> None:
    assert_type(Orders().get(5), str)
    site.add_url_rule("/o/<int:number>", view_func=Orders.as_view("o"))
    site.add_url_rule("/m", view_func=Marked.as_view("m"))
    site.add_url_rule("/n", view_func=any_credential(Marked.as_view("n")))


@site.before_request
def note() -> None:
    principal = principal_or_none()
    assert_type(principal, Principal | None)
    if principal is not None:
        assert_type(principal.api_key, str)


def plain() -> None:
    assert_type(Latchkey.join().middleware(site.wsgi_app), WSGIApplication)
    site.wsgi_app = Latchkey.join().middleware(site.wsgi_app)  # type: ignore[method-assign,assignment]
