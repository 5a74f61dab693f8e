"""The types in an own application, checked only by `mypy --strict`; never executed."""

from __future__ import annotations

import logging
from typing import Annotated, ClassVar, Literal, assert_type
from wsgiref.types import WSGIApplication

from fastapi import Depends, FastAPI, WebSocket
from flask import Flask
from flask.views import MethodView, View
from starlette.applications import Starlette
from starlette.middleware import Middleware

from latchkey import (
    Latchkey,
    OpenRoutes,
    Principal,
    PrincipalFilter,
    any_credential,
    current_principal,
    principal_or_none,
    require_scope,
)
from latchkey import fastapi as latchkey_fastapi
from latchkey.asgi import LatchkeyMiddleware, StillValid

site = Flask(__name__)


def opened(names: list[str]) -> None:
    Latchkey.join().protect(site)
    Latchkey.join().protect(site, OpenRoutes(routes={("GET", "/")}, areas=("/static/",)))
    OpenRoutes({("GET", "/"), ("OPTIONS", "/orders/<int:id>")})
    OpenRoutes({("GET", "/static/<path:name>")})
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


def create_app() -> Flask:
    latchkey = Latchkey()
    app = Flask(__name__)
    latchkey.init_app(app)
    latchkey.init_app(app, OpenRoutes({("GET", "/")}), only=("/api/",), modes={"live"})
    latchkey.protect(app, modes={"live", "test"}, errors="application")
    latchkey.protect(app, modes={"prod"})  # type: ignore[arg-type]
    latchkey.protect(app, errors="mine")  # type: ignore[arg-type]
    latchkey.protect(app, only="/api/")  # type: ignore[arg-type]
    assert_type(latchkey.middleware(app.wsgi_app, only=("/api/",)), WSGIApplication)
    assert_type(current_principal.mode, Literal["live", "test"])
    logging.getLogger().handlers[0].addFilter(PrincipalFilter())
    return app


api = FastAPI()
latchkey_fastapi.protect(api)
latchkey_fastapi.protect(api, Latchkey(), OpenRoutes(areas=("/docs/",)), only=("/api/",))
Reader = Annotated[Principal, Depends(latchkey_fastapi.require_scope("orders:read"))]


@api.get("/orders/{order_id}")
async def show_order(
    order_id: str,
    principal: Reader,
    other: Annotated[Principal, Depends(latchkey_fastapi.any_credential)],
) -> dict[str, str]:
    assert_type(principal, Principal)
    return {"account": principal.account_id}


@api.websocket("/ws")
async def talk(websocket: WebSocket, principal: Reader) -> None:
    still_valid: StillValid = websocket.state.still_valid
    assert_type(await still_valid(), bool)


async def wrapped() -> None:
    api.add_middleware(LatchkeyMiddleware)
    api.add_middleware(LatchkeyMiddleware, latchkey=Latchkey(), modes={"live"})
    Starlette(middleware=[Middleware(LatchkeyMiddleware, only=("/api/",))])
    LatchkeyMiddleware(api, Latchkey(), only=("/api/",))
