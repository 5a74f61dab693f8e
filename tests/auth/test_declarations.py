"""Declarations of views, in every form that Flask has for a view, and errors at the start."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from flask import Blueprint, Flask, Response
from flask.views import MethodView, View

from latchkey import Latchkey, OpenRoutes, any_credential, current_principal, require_scope
from latchkey.errors import ConfigurationError
from latchkey.flask.start_check import check_declarations
from tests.support.audited import TESTER
from tests.support.auth.plain_application import bearer


def secret(latchkey: Latchkey, *scopes: str) -> dict[str, str]:
    """The header of a new key with these scopes; by default, with all."""
    held = frozenset(scopes or {"*"})
    issued = latchkey.credentials.issue(name="x", caller=None, scopes=held, by=TESTER)
    return bearer(issued.secret)


def status(site: Flask, method: str, path: str, headers: dict[str, str] | None = None) -> int:
    return site.test_client().open(path, method=method, headers=headers or {}).status_code


def hello(**arguments: object) -> str:
    return "hello"


class Orders(MethodView):
    """Each method has its own declaration."""

    @require_scope("account:read")
    def get(self) -> str:
        return "orders"

    @require_scope("account:write")
    def post(self) -> str:
        return "made"


class Inherited(Orders):
    """Inherits methods, and has one more."""

    @any_credential
    def delete(self) -> str:
        return "gone"


def test_each_method_of_a_class_has_its_own_declaration(latchkey: Latchkey) -> None:
    site = Flask("site")
    latchkey.protect(site)
    for path, view in (("/orders", Orders), ("/inherited", Inherited)):
        site.add_url_rule(path, view_func=view.as_view(path[1:]))
    reader, other = secret(latchkey, "account:read"), secret(latchkey, "credentials:read")
    writer = secret(latchkey, "account:write")
    for _ in range(2):  # the second time, by what was learned
        for path in ("/orders", "/inherited"):
            for method, headers, expected in (
                ("GET", reader, 200),
                ("HEAD", reader, 200),
                ("POST", reader, 403),
                ("POST", writer, 200),
                ("GET", other, 403),
                ("HEAD", other, 403),
                ("GET", None, 401),
                ("OPTIONS", other, 200),
                ("OPTIONS", None, 401),
                ("PATCH", writer, 405),
            ):
                assert status(site, method, path, headers) == expected, (method, path)
        assert status(site, "DELETE", "/inherited", other) == 200


def test_a_method_without_a_declaration_is_refused(latchkey: Latchkey) -> None:
    class Forgetful(Orders):
        def put(self) -> str:
            return "put"

    class Head(Orders):
        def head(self) -> str:
            return ""

    for view, method in ((Forgetful, "PUT"), (Head, "HEAD")):
        site = Flask("site")
        site.add_url_rule("/orders", view_func=view.as_view("orders"))
        with pytest.raises(ConfigurationError) as refused:
            latchkey.protect(site)
        assert f"the protected route {method} /orders declares no requirement" in str(refused.value)
        assert f"{view.__qualname__}.{method.lower()} (the view orders)" in str(refused.value)
        assert "GET" not in str(refused.value)


def test_a_declaration_on_a_class_applies_to_all_its_methods(latchkey: Latchkey) -> None:
    class Listed(MethodView):
        decorators: ClassVar = [require_scope("account:read")]

        def get(self) -> str:
            return "x"

        @require_scope("credentials:write")
        def post(self) -> str:
            return "x"

    @require_scope("account:read")
    class Marked(MethodView):
        def get(self) -> str:
            return "x"

        @require_scope("credentials:write")
        def post(self) -> str:
            return "x"

    class Dispatched(View):
        methods: ClassVar = ["GET", "POST"]

        @require_scope("account:read")
        def dispatch_request(self) -> str:
            return "x"

    site = Flask("site")
    latchkey.protect(site)
    for view in (Listed, Marked, Dispatched):
        site.add_url_rule(f"/{view.__name__}", view_func=view.as_view(view.__name__))
    reader, writer = secret(latchkey, "account:read"), secret(latchkey, "credentials:write")
    both = secret(latchkey, "account:read", "credentials:write")
    for _ in range(2):
        for path in ("/Listed", "/Marked"):
            assert status(site, "GET", path, reader) == 200
            assert status(site, "GET", path, writer) == 403
            # Both are declared, so both are required.
            assert status(site, "POST", path, reader) == 403
            assert status(site, "POST", path, writer) == 403
            assert status(site, "POST", path, both) == 200
        assert status(site, "POST", "/Dispatched", reader) == 200
        assert status(site, "POST", "/Dispatched", writer) == 403


def test_every_kind_of_method_keeps_its_declaration(latchkey: Latchkey) -> None:
    class Kinds(MethodView):
        @require_scope("account:read")
        def listed(self, kind: str) -> str:
            return kind

        get = functools.partialmethod(listed, kind="x")

        @staticmethod
        @require_scope("account:read")
        def post() -> str:
            return "x"

        @require_scope("account:read")
        @staticmethod
        def put() -> str:
            return "x"

        @classmethod
        @require_scope("account:read")
        def delete(cls) -> str:
            return "x"

    site = Flask("site")
    site.add_url_rule("/x", view_func=Kinds.as_view("x"))
    latchkey.protect(site)
    for method in ("GET", "POST", "PUT", "DELETE"):
        for _ in range(2):
            assert status(site, method, "/x", secret(latchkey, "account:read")) == 200
            assert status(site, method, "/x", secret(latchkey, "credentials:read")) == 403


def test_a_view_class_that_declares_nothing_is_refused(latchkey: Latchkey) -> None:
    class Forgotten(View):
        def dispatch_request(self) -> str:
            return "x"

    site = Flask("site")
    site.add_url_rule("/x", view_func=Forgotten.as_view("x"))
    with pytest.raises(ConfigurationError, match=r"Forgotten\.dispatch_request \(the view x\)"):
        latchkey.protect(site)


class Office:
    """A class with a bound method as a view, and one with a callable instance."""

    def orders(self) -> str:
        return "orders"

    @require_scope("account:read")
    def marked(self) -> str:
        return "marked"


class Callee:
    """Instances do not accept attributes."""

    __slots__ = ()

    def __call__(self) -> str:
        return "called"


def wrapped(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        return view(*arguments, **named)

    return wrapper


@pytest.mark.parametrize(
    "view",
    [
        require_scope("account:read")(lambda: "x"),
        wrapped(require_scope("account:read")(lambda: "x")),
        require_scope("account:read")(wrapped(lambda: "x")),
        functools.partial(require_scope("account:read")(lambda a: "x"), a=1),
        require_scope("account:read")(functools.partial(hello, a=1)),
        require_scope("account:read")(Office().orders),
        Office().marked,
        require_scope("account:read")(Callee()),
        any_credential(require_scope("account:read")(lambda: "x")),
        require_scope("account:read")(any_credential(lambda: "x")),
        require_scope("account:read")(Orders.as_view("orders")),
        functools.partial(Orders.as_view("orders")),
        wrapped(Orders.as_view("orders")),
    ],
)
def test_every_kind_of_view_keeps_its_declaration(
    latchkey: Latchkey, view: Callable[..., Any]
) -> None:
    site = Flask("site")
    site.add_url_rule("/x", "x", view)
    latchkey.protect(site)
    for _ in range(2):
        assert status(site, "GET", "/x", secret(latchkey, "account:read")) == 200
        assert status(site, "GET", "/x", secret(latchkey, "credentials:read")) == 403
        assert status(site, "GET", "/x") == 401


def test_several_declarations_must_all_be_met(latchkey: Latchkey) -> None:
    site = Flask("site")
    site.add_url_rule(
        "/x", "x", require_scope("account:read")(require_scope("credentials:read")(lambda: "x"))
    )
    latchkey.protect(site)
    for _ in range(2):
        assert status(site, "GET", "/x", secret(latchkey, "account:read")) == 403
        assert status(site, "GET", "/x", secret(latchkey, "credentials:read")) == 403
        assert (
            status(site, "GET", "/x", secret(latchkey, "account:read", "credentials:read")) == 200
        )


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
