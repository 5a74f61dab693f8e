"""Views without a requirement and contradictions, which stop the start or the first request."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, Response
from flask.views import MethodView

from latchkey import Latchkey, OpenRoutes, any_credential, current_principal, require_scope
from latchkey.errors import ConfigurationError
from latchkey.flask.start_check import check_declarations
from tests.support.auth.declared_views import Callee, Office, hello, secret, status


@pytest.mark.parametrize(
    "view",
    [
        hello,
        lambda: "x",
        functools.partial(hello),
        Office().orders,
        Callee(),
        # A decorator that keeps no attribute of the decorated function.
        lambda: require_scope("account:read")(lambda: "x")(),
    ],
)
def test_a_view_that_declares_nothing_is_refused_when_the_application_is_built(
    latchkey: Latchkey, view: Callable[..., Any]
) -> None:
    site = Flask("site")
    site.add_url_rule("/forgotten", "forgotten", view)
    with pytest.raises(ConfigurationError) as refused:
        latchkey.protect(site)
    assert "the protected route GET /forgotten declares no requirement" in str(refused.value)
    assert "add @require_scope(...) or @any_credential to" in str(refused.value)
    assert "(the view forgotten)" in str(refused.value)


def test_a_view_that_is_added_later_is_refused_at_the_first_request(latchkey: Latchkey) -> None:
    site = Flask("site")
    open_routes = OpenRoutes({("GET", "/")})
    latchkey.protect(site, open_routes)
    site.add_url_rule("/", "home", lambda: "home")
    outer, inner = Blueprint("outer", "outer"), Blueprint("inner", "inner")
    inner.add_url_rule("/orders/<int:number>", "show", lambda number: "plans")
    outer.register_blueprint(inner, url_prefix="/inner")
    site.register_blueprint(outer, url_prefix="/outer")
    headers = secret(latchkey)
    said = r"GET /outer/inner/orders/<int:number> declares no .* \(the view outer\.inner\.show\)"
    # For any request, every time.
    for path in ("/", "/nowhere", "/outer/inner/orders/5"):
        for sent in ({}, headers):
            with pytest.raises(ConfigurationError, match=said):
                site.test_client().get(path, headers=sent)
    site.view_functions["outer.inner.show"] = any_credential(lambda number: f"order {number}")
    assert status(site, "GET", "/") == 200
    assert status(site, "GET", "/outer/inner/orders/5", headers) == 200
    assert status(site, "GET", "/outer/inner/orders/5") == 401


def test_a_view_that_is_replaced_while_serving_is_refused(
    latchkey: Latchkey, caplog: pytest.LogCaptureFixture
) -> None:
    site = Flask("site")
    site.add_url_rule("/x", "x", any_credential(lambda: "x"))
    latchkey.protect(site)
    headers = secret(latchkey, "account:read")
    assert status(site, "GET", "/x", headers) == 200
    site.view_functions["x"] = lambda: "plans"
    answer = site.test_client().get("/x", headers=headers)
    assert answer.status_code == 500
    assert b"plans" not in answer.data
    assert "the view x declares no requirement" in caplog.text
    site.view_functions["x"] = require_scope("account:write")(lambda: "x")
    assert status(site, "GET", "/x", headers) == 403


def declared(methods: list[str], *declarations: Callable[..., Any]) -> Flask:
    site = Flask("site")
    view: Callable[..., Any] = functools.partial(hello)
    for declare in declarations:
        view = declare(view)
    site.add_url_rule("/x/<int:number>", "numbered", view, methods=methods)
    site.add_url_rule("/x", "x", view, methods=methods)
    return site


@pytest.mark.parametrize("declare", [any_credential, require_scope("account:read")])
@pytest.mark.parametrize(
    ("methods", "open_routes", "said"),
    [
        (["GET"], OpenRoutes({("GET", "/x")}), "GET /x declares a requirement, but it is open"),
        (["GET"], OpenRoutes({("HEAD", "/x")}), "HEAD /x declares a requirement, but it is open"),
        (["GET"], OpenRoutes({("GET", "/x/<int:number>")}), "GET /x/<int:number> declares"),
        (["GET"], OpenRoutes(areas=("/x/",)), "GET /x/<int:number> declares"),
        (["GET"], OpenRoutes(areas=("/",)), "GET /x declares"),
        (["GET", "POST"], OpenRoutes({("POST", "/x")}), "POST /x declares"),
        (["OPTIONS"], OpenRoutes({("OPTIONS", "/x")}), "OPTIONS /x declares"),
        (["GET"], OpenRoutes({("GET", "/x/5")}), "is one path of the rule /x/<int:number>"),
        (["GET"], OpenRoutes({("GET", "/x/<number>")}), "GET /x/<number> is open by name, but"),
        (["GET"], OpenRoutes({("POST", "/x/<int:number>")}), "POST /x/<int:number> is open by"),
    ],
)
def test_contradictions_stop_the_start(
    latchkey: Latchkey,
    declare: Callable[..., Any],
    methods: list[str],
    open_routes: OpenRoutes,
    said: str,
) -> None:
    site = declared(methods, declare)
    with pytest.raises(ConfigurationError) as refused:
        check_declarations(site, open_routes)
    assert said in str(refused.value)
    fresh = Flask("site")
    latchkey.protect(fresh, open_routes)
    site = declared(methods, declare)
    for rule in site.url_map.iter_rules():
        if rule.endpoint != "static":
            view = site.view_functions[rule.endpoint]
            fresh.add_url_rule(rule.rule, rule.endpoint, view, methods=methods)
    with pytest.raises(ConfigurationError):
        fresh.test_client().get("/x", headers=secret(latchkey))


def test_an_open_method_beside_a_protected_one(latchkey: Latchkey) -> None:
    class Mixed(MethodView):
        def get(self) -> str:
            return "open"

        @any_credential
        def post(self) -> str:
            return current_principal.mode

    site = Flask("site")
    site.add_url_rule("/mixed", view_func=Mixed.as_view("mixed"))
    latchkey.protect(site, OpenRoutes({("GET", "/mixed")}))
    assert [status(site, method, "/mixed") for method in ("GET", "HEAD")] == [200, 200]
    assert [status(site, method, "/mixed") for method in ("POST", "OPTIONS")] == [401, 401]
    assert status(site, "POST", "/mixed", secret(latchkey)) == 200


@pytest.mark.parametrize(
    ("routes", "areas"),
    [
        ("GET /", ()),
        ({("get", "/")}, ()),
        ({("", "/")}, ()),
        ({("GET", "orders")}, ()),
        ((), "/static/"),
        ((), ("/static",)),
        ((), ("static/",)),
        ((), ("",)),
        ((), ("/<name>/",)),
    ],
)
def test_open_routes_that_match_nothing_or_too_much_are_invalid(routes: Any, areas: Any) -> None:
    with pytest.raises(ValueError, match=r"opens nothing|is not an area|not a string"):
        OpenRoutes(routes, areas)


def test_flasks_own_static_files_are_closed_unless_opened(latchkey: Latchkey) -> None:
    for open_routes, answer in (
        (OpenRoutes(), 401),
        (OpenRoutes(areas=("/static/",)), 404),
        (OpenRoutes({("GET", "/static/<path:filename>")}), 404),
    ):
        site = Flask("site")
        latchkey.protect(site, open_routes)
        assert status(site, "GET", "/static/x.css") == answer
        assert status(site, "GET", "/static/x.css", secret(latchkey)) == 404


def test_a_rule_without_a_view_needs_no_declaration(latchkey: Latchkey) -> None:
    """A rule without a view function is the router's: a redirect."""
    site = Flask("site")
    site.add_url_rule("/new", "new", any_credential(lambda: Response("new")))
    site.add_url_rule("/old", "old", redirect_to="/new")
    latchkey.protect(site)
    assert status(site, "GET", "/old") == 401
    assert status(site, "GET", "/old", secret(latchkey)) in (301, 302, 308)
