"""The middleware in front of an own application, as in the README."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from wsgiref.validate import validator

import pytest
from flask import Flask, abort
from werkzeug.test import TestResponse

from latchkey import (
    Latchkey,
    OpenRoutes,
    all_of,
    any_credential,
    any_of,
    current_principal,
    require_scope,
)
from latchkey.check._latency import Latency
from latchkey.config import Settings
from latchkey.errors import NoPrincipal
from tests.support.audited import TESTER, audit_files
from tests.support.auth.plain_application import PlainApplication, bearer, call, pair
from tests.support.database import new_database


def shop() -> Flask:
    """A Flask application that is not protected yet."""
    flask = Flask("shop")

    @flask.get("/orders")
    @require_scope("account:read")
    def list_orders() -> dict[str, str]:
        return {"key": current_principal.api_key, "mode": current_principal.mode}

    @flask.post("/orders")
    @require_scope("account:write")
    def add_order() -> dict[str, str]:
        return {}

    @flask.get("/whoami")
    @any_credential
    def show_caller() -> dict[str, str | None]:
        return {"name": current_principal.name}

    @flask.get("/keys/<key>")
    @require_scope("credentials:read", or_own="key")
    def show_key(key: str) -> dict[str, str]:
        return {"key": key}

    @flask.get("/open")
    def open_view() -> dict[str, bool]:
        try:
            current_principal.api_key  # noqa: B018 - asked for its error
        except NoPrincipal:
            return {"principal": False}
        return {"principal": True}

    @flask.get("/broken")
    @any_credential
    def broken() -> dict[str, str]:
        raise ValueError("a bug")

    @flask.get("/taken")
    @any_credential
    def taken() -> dict[str, str]:
        abort(409)

    return flask


OPEN = OpenRoutes(frozenset({("GET", "/open")}))


def test_an_own_application(latchkey: Latchkey) -> None:
    flask = shop()
    latchkey.protect(flask, OPEN)
    assert flask.extensions["latchkey"] is latchkey
    assert isinstance(flask.wsgi_app, Latency)
    client = flask.test_client()
    issued = latchkey.credentials.issue(
        name="reader", caller=None, scopes=frozenset({"account:read"}), by=TESTER
    )
    key, reader = issued.credential.api_key, bearer(issued.secret)

    answer = client.get("/orders", headers=reader)
    assert (answer.status_code, answer.json) == (200, {"key": key, "mode": "live"})
    assert client.get("/orders", headers=pair(issued.secret)).status_code == 200
    assert client.get("/orders", headers={}).status_code == 401
    assert client.get("/nowhere").status_code == 401
    assert client.get("/nowhere", headers=reader).status_code == 404
    assert client.get("/whoami", headers=reader).json == {"name": "reader"}

    denied = client.post("/orders", headers=reader)
    assert (denied.status_code, _code(denied)) == (403, "insufficient_scope")
    assert denied.headers["WWW-Authenticate"] == (
        'Bearer realm="latchkey", error="insufficient_scope", scope="account:write"'
    )
    assert _code(client.post("/orders", headers=pair(issued.secret))) == "INSUFFICIENT_SCOPE"

    wrong_method = client.delete("/orders", headers=reader)
    assert wrong_method.status_code == 405
    assert set(wrong_method.headers["Allow"].split(", ")) >= {"GET", "POST"}

    # A view argument may name the caller's own key.
    assert client.get(f"/keys/{key}", headers=reader).status_code == 200
    assert client.get("/keys/another", headers=reader).status_code == 403

    assert client.get("/open").json == {"principal": False}
    latchkey.credentials.revoke(key, None, by=TESTER)
    assert _code(client.get("/orders", headers=reader)) == "key_revoked"


def test_errors_of_an_own_application_are_unchanged(latchkey: Latchkey) -> None:
    flask = shop()
    flask.register_error_handler(409, lambda error: ("taken, sorry", 409))
    latchkey.protect(flask, OPEN)
    client = flask.test_client()
    headers = bearer(latchkey.credentials.issue(name="all", caller=None, by=TESTER).secret)
    taken = client.get("/taken", headers=headers)
    assert (taken.status_code, taken.data) == (409, b"taken, sorry")
    broken = client.get("/broken", headers=headers)
    assert (broken.status_code, broken.mimetype) == (500, "text/html")


def test_nothing_is_served_without_the_middleware(latchkey: Latchkey) -> None:
    flask = shop()
    inner = flask.wsgi_app
    latchkey.protect(flask, OPEN)
    flask.wsgi_app = inner  # type: ignore[method-assign]
    for path in ("/whoami", "/static/x", "/open"):
        assert flask.test_client().get(path).status_code == 500


def test_an_own_wsgi_application(latchkey: Latchkey, plain: PlainApplication) -> None:
    protected = latchkey.middleware(validator(plain))
    secret = latchkey.credentials.issue(name="all", caller=None, by=TESTER).secret
    assert call(protected, "/any").status == 401
    assert call(protected, "/any", bearer(secret)).body == b"hello"
    assert plain.principals[0].name == "all"


def test_a_database_failure_is_logged(
    latchkey: Latchkey, plain: PlainApplication, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = latchkey.credentials.issue(name="all", caller=None, by=TESTER).secret
    (tmp_path / "latchkey.db").rename(tmp_path / "away.db")
    with caplog.at_level(logging.ERROR, "latchkey"):
        assert call(latchkey.middleware(plain), "/any", bearer(secret)).status == 500
    assert "database failure" in caplog.text
    assert secret not in caplog.text


@pytest.mark.parametrize("scope", ["orders", "orders:", "orders:*", "Orders:read", "", "*:write"])
def test_a_malformed_scope_raises_value_error(scope: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{scope!r} is not a scope: a scope is")):
        require_scope(scope)
    with pytest.raises(ValueError, match="is not a scope"):
        any_of("orders:read", all_of("orders:write", scope))
    with pytest.raises(ValueError, match="at least one"):
        all_of()


def test_settings_can_be_passed_instead_of_the_environment(tmp_path: Path) -> None:
    audit_files(tmp_path / "secrets")
    settings = Settings(
        database_url=new_database(tmp_path / "latchkey.db"),
        audit_key_file=tmp_path / "secrets" / "audit.key",
        audit_head_file=tmp_path / "secrets" / "audit.head",
        derivation_keys="ab" * 32,  # type: ignore[arg-type]
        cache_backend="none",
        failure_limit="off",
    )
    latchkey = Latchkey.from_settings(settings)
    secret = latchkey.credentials.issue(name="x", caller=None, by=TESTER).secret
    assert call(latchkey.middleware(PlainApplication()), "/", bearer(secret)).status == 200
    latchkey.store.close()


def _code(answer: TestResponse) -> str:
    code: str = answer.get_json()["error"]["code"]
    return code
