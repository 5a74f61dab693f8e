"""Open rules with placeholders, as the router matches them, and preflight requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from flask import Blueprint, Flask, make_response, request
from flask.views import MethodView
from flask_cors import CORS, cross_origin
from werkzeug.routing import BaseConverter
from werkzeug.test import TestResponse

from latchkey import Latchkey, OpenRoutes, any_credential, principal_or_none, require_scope, wsgi
from latchkey.box.counter_names import Count
from latchkey.errors import ConfigurationError
from tests.support.audited import TESTER
from tests.support.auth.plain_application import PlainApplication, bearer, call
from tests.support.auth.worker import Worker


class Even(BaseConverter):
    """Even numbers."""

    regex = r"\d*[02468]"


def named(view: str) -> Callable[..., str]:
    """A view that returns its name, and whether the caller is authenticated."""

    def show(**arguments: object) -> str:
        assert principal_or_none() is None or view.startswith("closed")
        return view

    return show


RULES = {
    "/": "root",
    "/orders/<id>": "order",
    "/files/<path:name>": "file",
    "/numbers/<int(min=10, max=99):number>": "number",
    "/kinds/<any(red, 'dark blue'):kind>": "kind",
    "/even/<even:number>": "even",
    "/<lang>/about": "about",
    "/items/<id>/": "item",
    "/list/": "list",
    "/café/<name>": "café",
    "/day/<string(length=10):day>/log": "log",
}


@pytest.fixture
def headers(latchkey: Latchkey) -> dict[str, str]:
    return bearer(latchkey.credentials.issue(name="x", caller=None, by=TESTER).secret)


@pytest.fixture
def site(latchkey: Latchkey) -> Flask:
    """A site with open rules, and closed ones that look similar."""
    site = Flask("site")
    site.url_map.converters["even"] = Even
    latchkey.protect(site, OpenRoutes({("GET", rule) for rule in RULES}))
    for rule, view in RULES.items():
        site.add_url_rule(rule, view, named(view))
    closed = {
        "/orders/new": ["GET"],
        "/orders/<id>": ["DELETE"],
        "/orders/<id>/lines": ["GET"],
        "/files/private/<name>": ["GET"],
        "/closed": ["GET"],
        "/list": ["POST"],
    }
    for rule, methods in closed.items():
        closed_view = any_credential(named(f"closed {rule}"))
        site.add_url_rule(rule, f"closed{rule}{methods}", closed_view, methods=methods)
    return site


def test_open_rules_open_what_the_router_leads_to_them(
    site: Flask, latchkey: Latchkey, headers: dict[str, str]
) -> None:
    client = site.test_client()
    admitted = {
        "/": "root",
        "/orders/7": "order",
        "/orders/new2": "order",
        "/orders/%6eew7": "order",
        "/files/a": "file",
        "/files/a/b/c.txt": "file",
        "/files/privat": "file",
        "/numbers/42": "number",
        "/kinds/red": "kind",
        "/kinds/dark%20blue": "kind",
        "/even/12": "even",
        "/de/about": "about",
        "/items/7/": "item",
        "/list/": "list",
        "/caf%C3%A9/x": "café",
        "/day/2027-01-01/log": "log",
    }
    counters = latchkey.authenticator.counters
    for path, view in admitted.items():
        before = counters.value(Count.OPEN)
        # The same with a valid and an invalid credential: an open route ignores it.
        for sent in ({}, headers, bearer("nonsense"), headers):
            answer = client.get(path, headers=sent)
            assert (answer.status_code, answer.text) == (200, view), path
        assert client.head(path).status_code == 200
        assert counters.value(Count.OPEN) == before + 5
        assert client.post(path).status_code == 401
        assert client.options(path).status_code == 401


def test_similar_paths_stay_closed(site: Flask, headers: dict[str, str]) -> None:
    client = site.test_client()
    protected = {
        "/orders/new": 200,
        "/orders/7/lines": 200,
        "/files/private/x": 200,
        "/numbers/7": 404,
        "/numbers/100": 404,
        "/numbers/x": 404,
        "/closed": 200,
        "/orders/": 404,
        "/orders/7/": 404,
        "/orders/7/8": 404,
        "/files/": 404,
        "/kinds/blue": 404,
        "/even/13": 404,
        "/de/about/": 404,
        "/a/b/about": 404,
        "/ORDERS/7": 404,
        "/order/7": 404,
        "/list/x": 404,
        "/day/2027/log": 404,
    }
    for path, status in protected.items():
        for _ in range(2):
            assert client.get(path).status_code == 401, path
            answer = client.get(path, headers=headers)
            assert answer.status_code == status, path
            assert status != 200 or answer.text.startswith("closed")
    # The test client would treat the text after two slashes as a host.
    for path in ("//orders/7", "///orders/7", "//files/a", "/orders//7", "//de/about", "//"):
        assert call(site, path).status == 401, path
    assert client.delete("/orders/7").status_code == 401
    assert client.delete("/orders/7", headers=headers).status_code == 200


def test_the_redirect_to_a_last_slash_is_as_open_as_its_rule(
    site: Flask, headers: dict[str, str]
) -> None:
    client = site.test_client()
    for path in ("/items/7", "/list"):
        for sent in ({}, headers):
            answer = client.get(path, headers=sent)
            assert (answer.status_code, answer.location) == (308, f"http://localhost{path}/")
    assert client.post("/items/7").status_code == 401
    assert client.post("/list").status_code == 401
    assert client.post("/list", headers=headers).status_code == 200


def test_rules_that_are_not_strict_about_the_last_slash(
    latchkey: Latchkey, headers: dict[str, str]
) -> None:
    site = Flask("site")
    site.url_map.strict_slashes = False
    latchkey.protect(site, OpenRoutes({("GET", "/leaf"), ("GET", "/list/"), ("GET", "/x/<key>")}))
    site.add_url_rule("/leaf", "leaf", lambda: "open")
    site.add_url_rule("/list/", "list", lambda: "open")
    site.add_url_rule("/x/<key>", "x", lambda key: "open")
    site.add_url_rule("/closed", "closed", any_credential(lambda: "closed"))
    client = site.test_client()
    for path in ("/leaf", "/leaf/", "/list", "/list/", "/x/7", "/x/7/"):
        for sent in ({}, headers, headers):
            assert client.get(path, headers=sent).status_code == 200, path
        assert client.post(path).status_code == 401
    for path in ("/closed", "/closed/", "/leaf/x", "/leafs/"):
        assert client.get(path).status_code == 401
    # With a credential, everything that the router leads there is served, because it is open.
    assert call(site, "//leaf", headers).status == 200
    assert call(site, "//leaf").status == 401


def test_untrusted_hosts_open_nothing(site: Flask) -> None:
    site.config["TRUSTED_HOSTS"] = ["example.org"]
    client = site.test_client()
    assert client.get("/orders/7").status_code == 401
    assert client.get("/orders/7", headers={"Host": "example.org"}).status_code == 200


def test_blueprints_that_are_registered_later(latchkey: Latchkey) -> None:
    site = Flask("site")
    latchkey.protect(site, OpenRoutes({("GET", "/shop/orders/<int:id>")}))
    shop = Blueprint("shop", "shop")
    shop.add_url_rule("/orders/<int:id>", "order", named("order"))
    shop.add_url_rule("/orders/<id>", "closed", any_credential(named("closed")))
    site.register_blueprint(shop, url_prefix="/shop")
    assert site.test_client().get("/shop/orders/7").text == "order"
    assert site.test_client().get("/shop/orders/x").status_code == 401


def test_placeholders_need_a_router(tmp_path: Path, latchkey: Latchkey) -> None:
    open_routes = OpenRoutes({("GET", "/orders/<id>")})
    with pytest.raises(ConfigurationError, match="need a router"):
        latchkey.middleware(PlainApplication(), open_routes)
    worker = Worker(tmp_path / "another.db")
    with pytest.raises(ConfigurationError, match="need a router"):
        wsgi.middleware(PlainApplication(), worker.authenticator, open_routes=open_routes)
    worker.close()


def test_an_inner_middleware_cannot_reach_closed_rules(
    latchkey: Latchkey, headers: dict[str, str]
) -> None:
    """A rule must be open, not only its path."""
    site = Flask("site")
    site.add_url_rule("/open", "open", named("open"))
    site.add_url_rule("/closed", "closed", any_credential(named("closed")))
    inner = site.wsgi_app

    def rewriting(environ: Any, start_response: Any) -> Any:
        environ["PATH_INFO"] = environ.get("HTTP_X_PATH", environ["PATH_INFO"])
        return inner(environ, start_response)

    site.wsgi_app = rewriting  # type: ignore[method-assign]
    latchkey.protect(site, OpenRoutes({("GET", "/open")}))
    client = site.test_client()
    assert client.get("/open").status_code == 200
    assert client.get("/open", headers={"X-Path": "/closed"}).status_code == 401
    assert client.get("/open", headers={"X-Path": "/static/x"}).status_code == 401


# ---- Preflights

ORIGIN = {"Origin": "https://shop.example", "Access-Control-Request-Method": "GET"}


def preflight(site: Flask, path: str) -> TestResponse:
    return site.test_client().options(path, headers=ORIGIN)


class OrdersView(MethodView):
    """Flask answers OPTIONS."""

    @require_scope("account:read")
    def get(self) -> str:
        return "orders"


class OwnPreflight(OrdersView):
    """With its own preflight view."""

    def options(self) -> str:
        return "own"


class Covered(MethodView):
    """A declaration for all methods does not close a preflight that was opened."""

    decorators: ClassVar = [require_scope("account:read")]

    def get(self) -> str:
        return "orders"

    def options(self) -> str:
        return "own"


def plain_view(site: Flask, path: str) -> None:
    site.add_url_rule(path, "x", require_scope("account:read")(lambda: "orders"))


def view_of_its_own(site: Flask, path: str) -> None:
    plain_view(site, path)
    site.add_url_rule(path, "preflight", lambda: "own", methods=["OPTIONS"])


def one_view_for_both(site: Flask, path: str) -> None:
    view = require_scope("account:read")(lambda: "orders")
    site.add_url_rule(path, "x", view, methods=["GET", "OPTIONS"])


def in_a_blueprint(site: Flask, path: str) -> None:
    blueprint = Blueprint("shop", "shop", url_prefix=path)
    blueprint.add_url_rule("", "x", require_scope("account:read")(lambda: "orders"))
    site.register_blueprint(blueprint)


def by_cross_origin(site: Flask, path: str) -> None:
    view = cross_origin()(require_scope("account:read")(lambda: "orders"))
    site.add_url_rule(path, "x", view)


def around_cross_origin(site: Flask, path: str) -> None:
    view = require_scope("account:read")(cross_origin()(lambda: "orders"))
    site.add_url_rule(path, "x", view)


def by_a_hook(site: Flask, path: str) -> None:
    plain_view(site, path)

    @site.before_request
    def answer_preflights() -> Any:
        return make_response("hook") if request.method == "OPTIONS" else None


def by_class(view: type[MethodView]) -> Callable[[Flask, str], None]:
    return lambda site, path: site.add_url_rule(path, view_func=view.as_view("x"))


@pytest.mark.parametrize(
    "add",
    [
        plain_view,
        view_of_its_own,
        one_view_for_both,
        in_a_blueprint,
        by_cross_origin,
        around_cross_origin,
        by_a_hook,
        by_class(OrdersView),
        by_class(OwnPreflight),
        by_class(Covered),
    ],
)
def test_a_preflight_to_a_route_that_was_opened_for_it(
    latchkey: Latchkey, headers: dict[str, str], add: Callable[[Flask, str], None]
) -> None:
    site = Flask("site")
    CORS(site)
    latchkey.protect(site, OpenRoutes({("OPTIONS", "/orders")}))
    add(site, "/orders")
    answer = preflight(site, "/orders")
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] in ("*", ORIGIN["Origin"])
    assert b"orders" not in answer.data or add is one_view_for_both
    assert site.test_client().get("/orders").status_code == 401
    assert site.test_client().get("/orders", headers=headers).text == "orders"
    other = latchkey.credentials.issue(
        name="x", caller=None, scopes=frozenset({"credentials:read"}), by=TESTER
    )
    assert site.test_client().get("/orders", headers=bearer(other.secret)).status_code == 403
    # A credential makes no difference on an open route.
    assert site.test_client().options("/orders", headers=bearer(other.secret)).status_code == 200


def test_preflights_of_rules_with_placeholders(latchkey: Latchkey) -> None:
    site = Flask("site")
    CORS(site)
    site.add_url_rule("/orders/<int:id>", "order", require_scope("account:read")(named("closed")))
    site.add_url_rule("/other", "other", any_credential(named("closed")))
    # The way in which the documentation opens every preflight.
    rules = {("OPTIONS", rule.rule) for rule in site.url_map.iter_rules()}
    latchkey.protect(site, OpenRoutes(rules))
    assert [preflight(site, path).status_code for path in ("/orders/7", "/other")] == [200, 200]
    assert preflight(site, "/nowhere").status_code == 401
    assert preflight(site, "/orders/x").status_code == 401


def test_a_preflight_that_was_not_opened_is_refused(latchkey: Latchkey) -> None:
    site = Flask("site")
    CORS(site)
    latchkey.protect(site)
    plain_view(site, "/orders")
    assert preflight(site, "/orders").status_code == 401


def test_an_own_preflight_view_declares_something_or_is_open(latchkey: Latchkey) -> None:
    site = Flask("site")
    view_of_its_own(site, "/orders")
    with pytest.raises(ConfigurationError, match="OPTIONS /orders declares no requirement"):
        latchkey.protect(site)

    class Contradictory(OrdersView):
        @any_credential
        def options(self) -> str:
            return "own"

    site = Flask("site")
    by_class(Contradictory)(site, "/orders")
    with pytest.raises(ConfigurationError, match="OPTIONS /orders declares a requirement, but"):
        latchkey.protect(site, OpenRoutes({("OPTIONS", "/orders")}))
