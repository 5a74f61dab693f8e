"""Requirements of views: checked before anything answers, for every routed request."""

from __future__ import annotations

import pytest
from flask import Flask, request

from latchkey import any_credential, require_scope
from latchkey.credentials.models import Principal
from latchkey.credentials.requirement import Requirement
from latchkey.credentials.scopes import permits
from latchkey.flask.error_handlers import answer_our_errors
from latchkey.flask.requirements import enforce_requirements
from tests.support.credentials.some_scopes import SOME_SCOPES


def principal(*scopes: str) -> Principal:
    return Principal(1, "acct", "ak_live_x", "live", None, frozenset(scopes), None)


@pytest.fixture
def refused() -> list[Principal]:
    return []


@pytest.fixture
def app(refused: list[Principal]) -> Flask:
    app = Flask("views")

    @app.post("/write")
    @require_scope("account:write")
    def write() -> str:
        return request.get_data(as_text=True)

    enforce_requirements(app, refused.append)
    answer_our_errors(app)
    return app


def post(app: Flask, path: str, *scopes: str) -> int:
    environ = {"latchkey.principal": principal(*scopes)}
    return app.test_client().post(path, data=b"body", environ_overrides=environ).status_code


@pytest.mark.parametrize("needed", SOME_SCOPES)
def test_sufficient_scopes_are_those_that_the_domain_permits(needed: str) -> None:
    requirement = Requirement(needed)
    for scope in SOME_SCOPES:
        if scope.count(":") < 2:
            assert (scope in requirement.sufficient) == permits({scope}, needed)
    assert not Requirement(None).sufficient
    assert not Requirement(needed, of="order_id").sufficient


def test_a_view_that_was_added_later_is_checked_too(app: Flask) -> None:
    app.add_url_rule("/later", view_func=any_credential(lambda: "later"), endpoint="later")
    app.add_url_rule("/forgotten", view_func=lambda: "open to all?", endpoint="forgotten")
    assert app.test_client().get("/later").status_code == 500
    environ = {"latchkey.principal": principal("*")}
    client = app.test_client()
    assert client.get("/later", environ_overrides=environ).text == "later"
    assert client.get("/forgotten", environ_overrides=environ).status_code == 500


def test_a_hook_that_answers_requires_the_scope_too(app: Flask, refused: list[Principal]) -> None:
    app.before_request(lambda: ("from the hook", 202))
    assert post(app, "/write", "account:write") == 202
    assert post(app, "/write", "account:read") == 403
    assert refused == [principal("account:read")]


def test_an_error_of_a_hook_takes_precedence(app: Flask, refused: list[Principal]) -> None:
    @app.before_request
    def refuse() -> None:
        request.on_json_loading_failed(None)

    assert post(app, "/write", "account:read") == 415
    assert post(app, "/nowhere", "account:read") == 415
    assert refused == []


@pytest.mark.parametrize("held", SOME_SCOPES)
def test_each_scope_admits_what_it_permits(app: Flask, refused: list[Principal], held: str) -> None:
    allowed = permits({held}, "account:write")
    assert post(app, "/write", held) == (200 if allowed else 403)
    assert post(app, "/write", "credentials:read", held) == (200 if allowed else 403)
    assert len(refused) == (0 if allowed else 2)


def test_routing_comes_first(app: Flask, refused: list[Principal]) -> None:
    assert post(app, "/nowhere", "account:read") == 404
    assert app.test_client().post("/nowhere").status_code == 500
    environ = {"latchkey.principal": principal("account:read")}
    assert app.test_client().get("/write", environ_overrides=environ).status_code == 405
    assert refused == []
