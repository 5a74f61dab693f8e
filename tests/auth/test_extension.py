"""Latchkey as a Flask extension: factories, blueprints, several applications, late joining."""

from __future__ import annotations

import io
import logging
import threading
from typing import ClassVar

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView

from latchkey import (
    Latchkey,
    OpenRoutes,
    PrincipalFilter,
    any_credential,
    current_principal,
    require_scope,
)
from latchkey import assembly as assembly_module
from latchkey.errors import ConfigurationError
from latchkey.parts import Parts
from tests.support.audited import TESTER
from tests.support.auth.plain_application import bearer, call

orders = Blueprint("orders", "orders", url_prefix="/orders")


class Orders(MethodView):
    """A declaration for each method, and one for all of them."""

    decorators: ClassVar = [any_credential]

    @require_scope("orders:read")
    def get(self) -> str:
        return f"read by {current_principal.name}"

    @require_scope("orders:write")
    def post(self) -> str:
        logging.getLogger("shop").warning("written")
        return "written"


orders.add_url_rule("/", view_func=Orders.as_view("orders"))


def create_app(latchkey: Latchkey) -> Flask:
    app = Flask("shop")
    latchkey.init_app(app, OpenRoutes({("GET", "/health")}))
    app.register_blueprint(orders)
    app.add_url_rule("/health", "health", lambda: "well")
    return app


def key(latchkey: Latchkey, *scopes: str) -> dict[str, str]:
    issued = latchkey.credentials.issue(
        name="shop", caller=None, scopes=frozenset(scopes or {"*"}), by=TESTER
    )
    return bearer(issued.secret)


def test_a_factory_with_a_blueprint_and_class_based_views(latchkey: Latchkey) -> None:
    app = create_app(latchkey)
    reader = key(latchkey, "orders:read")
    assert call(app.wsgi_app, "/orders/").status == 401
    assert call(app.wsgi_app, "/orders/", reader).body == b"read by shop"
    assert call(app.wsgi_app, "/orders/", reader, "POST").status == 403
    assert call(app.wsgi_app, "/orders/", key(latchkey), "POST").body == b"written"
    assert call(app.wsgi_app, "/health").body == b"well"


def test_one_latchkey_protects_several_applications(latchkey: Latchkey) -> None:
    apps = [create_app(latchkey) for _ in range(2)]
    headers = key(latchkey)
    for app in apps:
        assert call(app.wsgi_app, "/orders/", headers).status == 200
        assert app.extensions["latchkey"] is latchkey


@pytest.mark.parametrize("again", [Latchkey.protect, Latchkey.init_app])
def test_an_application_is_protected_once(latchkey: Latchkey, again: object) -> None:
    app = create_app(latchkey)
    protected = app.wsgi_app
    with pytest.raises(ConfigurationError, match="the application shop is protected already"):
        again(latchkey, app)  # type: ignore[operator]
    with pytest.raises(ConfigurationError, match="protected already"):
        Latchkey().init_app(app)
    assert app.wsgi_app is protected


def test_a_failed_call_can_be_repeated(latchkey: Latchkey) -> None:
    app = Flask("shop")
    app.add_url_rule("/", "home", lambda: "home")
    with pytest.raises(ConfigurationError, match="declares no requirement"):
        latchkey.init_app(app)
    latchkey.init_app(app, OpenRoutes({("GET", "/")}))
    assert call(app.wsgi_app, "/").body == b"home"


def test_it_joins_when_the_first_request_arrives(
    latchkey: Latchkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[threading.Thread] = []

    def join(settings: object) -> Parts:
        joined.append(threading.current_thread())
        return latchkey.begin()

    monkeypatch.setattr(assembly_module, "join_box", join)
    late = Latchkey()
    app = create_app(late)
    assert not late.has_joined
    headers = key(latchkey)
    answers: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(call(app.wsgi_app, "/orders/", headers).status)
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 4
    assert len(joined) == 1
    assert late.authenticator is latchkey.authenticator


def test_what_is_known_before_the_fork_is_checked_at_the_start(
    latchkey: Latchkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="open routes with placeholders need a router"):
        Latchkey().middleware(Flask("x").wsgi_app, OpenRoutes({("GET", "/<x>")}))
    monkeypatch.setenv("LATCHKEY_DATABASE_URL", "sqlite:////nowhere/at/all.db")
    with pytest.raises(ConfigurationError, match="there is no database"):
        Latchkey().init_app(Flask("x"))
    monkeypatch.setenv("LATCHKEY_THREADS", "many")
    with pytest.raises(ConfigurationError, match="LATCHKEY_THREADS"):
        Latchkey().init_app(Flask("x"))


def test_log_records_name_the_caller(latchkey: Latchkey) -> None:
    app = create_app(latchkey)
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(PrincipalFilter())
    handler.setFormatter(logging.Formatter("%(api_key)s %(account_id)s %(mode)s"))
    issued = latchkey.credentials.issue(name="shop", caller=None, by=TESTER)
    logger = logging.getLogger("shop")
    logger.addHandler(handler)
    try:
        call(app.wsgi_app, "/orders/", bearer(issued.secret), "POST")
        logger.warning("outside of a request")
    finally:
        logger.removeHandler(handler)
    credential = issued.credential
    assert written.getvalue().splitlines() == [
        f"{credential.api_key} {credential.account_id} live",
        "- - -",
    ]
