"""Declarations of views, in every form that Flask has for a view."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from flask import Flask
from flask.views import MethodView, View

from latchkey import Latchkey, any_credential, require_scope
from latchkey.errors import ConfigurationError
from tests.support.auth.declared_views import Callee, Office, hello, secret, status


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
