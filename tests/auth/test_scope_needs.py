"""Scopes of an application: on objects, one of several, or all of several."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from latchkey import OpenRoutes, Principal, all_of, any_of, require_scope
from latchkey.credentials.needs import AllOf, AnyOf, Need, describe, is_met, sufficient_for
from latchkey.credentials.scopes import permits
from latchkey.errors import ConfigurationError
from latchkey.flask.error_handlers import answer_our_errors
from latchkey.flask.requirements import enforce_requirements
from latchkey.flask.start_check import check_declarations
from tests.support.credentials.some_scopes import SOME_SCOPES

some_needs = st.recursive(
    st.sampled_from([scope for scope in SOME_SCOPES if scope.count(":") == 1]),
    lambda inner: st.lists(inner, min_size=1, max_size=3).flatmap(
        lambda needs: st.sampled_from([any_of(*needs), all_of(*needs)])
    ),
    max_leaves=6,
)


def principal(*scopes: str) -> Principal:
    return Principal(1, "acct", "ak_live_x", "live", None, frozenset(scopes), None)


def site(declare: Callable[[Flask], None]) -> Flask:
    app = Flask("orders")
    declare(app)
    check_declarations(app, OpenRoutes())
    enforce_requirements(app)
    answer_our_errors(app)
    return app


def ask(app: Flask, path: str, *scopes: str) -> TestResponse:
    environ = {"latchkey.principal": principal(*scopes)}
    return app.test_client().get(path, environ_overrides=environ)


def orders(app: Flask) -> None:
    @app.get("/orders/<order_id>")
    @require_scope("orders:read", of="order_id")
    def show(order_id: str) -> str:
        return order_id

    @app.get("/numbered/<int:order_id>")
    @require_scope("orders:read", of="order_id")
    def show_numbered(order_id: int) -> str:
        return str(order_id)

    @app.get("/orders", defaults={"order_id": ""})
    @require_scope("orders:read", of="order_id")
    def show_default(order_id: str) -> str:
        return f"default {order_id}"

    @app.get("/all")
    @require_scope("orders:read")
    def show_all() -> str:
        return "all"


@pytest.mark.parametrize(
    ("scopes", "path", "status"),
    [
        (["orders:read"], "/orders/eu-17", 200),
        (["orders:write"], "/orders/eu-17", 200),
        (["*:read"], "/orders/eu-17", 200),
        (["orders:read:eu-17"], "/orders/eu-17", 200),
        (["orders:write:eu-*"], "/orders/eu-17", 200),
        (["orders:read:eu-*"], "/orders/eu-", 200),
        (["orders:read:eu-*"], "/orders/eu-%2A", 200),
        (["orders:read:eu-17"], "/orders/eu-18", 403),
        (["orders:read:eu-17"], "/orders/eu-170", 403),
        (["orders:read:eu-17"], "/orders/EU-17", 403),
        (["orders:read:eu-17"], "/orders/%20eu-17", 403),
        (["orders:export:eu-17"], "/orders/eu-17", 403),
        (["invoices:read", "orders:read:us-*"], "/orders/eu-17", 403),
        (["orders:read:1*"], "/numbered/17", 200),
        (["orders:read:2*"], "/numbered/17", 403),
        # An empty object is none, for any scope.
        (["*"], "/orders", 403),
        # Without an object, a selector is not sufficient.
        (["orders:read:eu-17", "orders:read:eu-*"], "/all", 403),
        (["orders:read:eu-17", "orders:read"], "/all", 200),
    ],
)
def test_a_scope_on_an_object(scopes: list[str], path: str, status: int) -> None:
    app = site(orders)
    # Twice: what the first request teaches the compiled check must not admit the second.
    for _ in range(2):
        assert ask(app, "/orders/us-1", "orders:read").status_code == 200
        assert ask(app, path, *scopes).status_code == status


def test_the_refusal_names_the_scope_and_never_the_object() -> None:
    answer = ask(site(orders), '/orders/%22%0d%0aX-Evil:%201"', "orders:read:eu-17")
    assert answer.status_code == 403
    assert json.loads(answer.data)["error"]["message"] == (
        "This request needs the scope orders:read for this order_id"
    )
    assert "Evil" not in answer.text + str(answer.headers)


def several(app: Flask) -> None:
    @app.get("/any")
    @require_scope(any_of("a:read", "b:read"))
    def show_any() -> str:
        return "any"

    @app.get("/both")
    @require_scope(all_of("a:read", "b:read"))
    def show_both() -> str:
        return "both"

    @app.get("/mixed/<thing>")
    @require_scope(all_of("a:read", any_of("b:write", "c:read")), of="thing")
    def show_mixed(thing: str) -> str:
        return thing


@pytest.mark.parametrize(
    ("scopes", "path", "status"),
    [
        (["a:read"], "/any", 200),
        (["b:write"], "/any", 200),
        (["c:read"], "/any", 403),
        (["a:read"], "/both", 403),
        (["a:read", "b:read"], "/both", 200),
        (["*:read"], "/both", 200),
        (["a:read:x", "c:read:*x".replace("*x", "x*")], "/mixed/x", 200),
        (["a:read", "b:read"], "/mixed/x", 403),
        (["*"], "/mixed/x", 200),
    ],
)
def test_one_of_several_scopes_or_all(scopes: list[str], path: str, status: int) -> None:
    app = site(several)
    for _ in range(2):
        assert ask(app, path, *scopes).status_code == status


def test_the_refusal_names_all_scopes() -> None:
    app = site(several)
    error = json.loads(ask(app, "/mixed/x").data)["error"]
    assert error["message"] == "This request needs a:read and (b:write or c:read) for this thing"
    answer = app.test_client().get(
        "/any",
        environ_overrides={"latchkey.principal": principal("c:read")},
        headers={"Authorization": "Bearer x"},
    )
    assert answer.headers["WWW-Authenticate"].endswith('scope="a:read b:read"')


@given(some_needs, st.frozensets(st.sampled_from(SOME_SCOPES)))
def test_what_is_sufficient_meets_the_need(need: Need, granted: frozenset[str]) -> None:
    def model(one: Need) -> bool:
        if isinstance(one, AnyOf):
            return any(map(model, one.needs))
        if isinstance(one, AllOf):
            return all(map(model, one.needs))
        return permits(granted, one)

    assert is_met(need, granted) == model(need)
    if granted & sufficient_for(need):
        assert is_met(need, granted)
    assert describe(need)


@pytest.mark.parametrize("names", [{"of": "order"}, {"or_own": "order"}])
def test_a_declaration_that_names_no_argument_stops_the_start(names: dict[str, Any]) -> None:
    def declare(app: Flask) -> None:
        app.add_url_rule(
            "/orders/<order_id>",
            "show",
            require_scope("orders:read", **names)(lambda order_id: order_id),
        )

    with pytest.raises(ConfigurationError, match="has no argument order, which the declaration"):
        site(declare)
