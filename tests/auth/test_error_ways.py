"""How a protected Flask application answers errors: by its own handlers, or by Latchkey's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, abort, request
from flask_cors import CORS
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from latchkey import Latchkey, OpenRoutes, any_credential, require_scope
from latchkey.errors import ApiError, InsufficientScope, InvalidCredential, StoreError
from tests.support.audited import TESTER
from tests.support.auth.plain_application import bearer, call

HOOKS: list[str] = []


def site(with_handlers: bool = True) -> Flask:
    app = Flask("site")

    @app.get("/orders")
    @require_scope("orders:read")
    def orders() -> str:
        return "orders"

    @app.get("/broken")
    @any_credential
    def broken() -> str:
        raise StoreError("a detail for the log")

    @app.get("/taken")
    @any_credential
    def taken() -> str:
        abort(409, "taken")

    @app.before_request
    def note() -> None:
        HOOKS.append(request.path)

    if with_handlers:

        @app.errorhandler(HTTPException)
        def show(error: HTTPException) -> tuple[str, int]:
            cause = type(error.__cause__).__name__
            return f"<h1>{error.code} {cause}: {error.description}</h1>", error.code or 500

    return app


@pytest.fixture
def reader(latchkey: Latchkey) -> dict[str, str]:
    scopes = frozenset({"invoices:read"})
    issued = latchkey.credentials.issue(name="reader", caller=None, scopes=scopes, by=TESTER)
    return bearer(issued.secret)


def test_the_handlers_of_the_application_get_every_refusal(
    latchkey: Latchkey, reader: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    app = site()
    latchkey.protect(app, errors="application")
    HOOKS.clear()
    missing = call(app.wsgi_app, "/orders")
    assert (missing.status, missing.body) == (
        401,
        b"<h1>401 MissingCredential: No API key provided</h1>",
    )
    assert missing.headers["WWW-Authenticate"] == 'Bearer realm="latchkey"'
    assert missing.headers["Cache-Control"] == "no-store"
    assert missing.headers["Content-Type"].startswith("text/html")
    twice = call(app.wsgi_app, "/orders", {**reader, "X-Api-Key": "x"})
    assert (twice.status, twice.body[:22]) == (400, b"<h1>400 InvalidRequest")
    # No hook of the application runs for a refused request, and no unknown path becomes known.
    assert call(app.wsgi_app, "/nowhere").status == 401
    assert HOOKS == []
    denied = call(app.wsgi_app, "/orders", reader)
    assert (denied.status, denied.body[:26]) == (403, b"<h1>403 InsufficientScope:")
    assert 'scope="orders:read"' in denied.headers["WWW-Authenticate"]
    broken = call(app.wsgi_app, "/broken", reader)
    assert (broken.status, b"a detail" in broken.body) == (500, False)
    assert "a detail for the log" in caplog.text
    assert call(app.wsgi_app, "/taken", reader).body == b"<h1>409 NoneType: taken</h1>"


def test_a_handler_for_one_error_of_latchkey(latchkey: Latchkey, reader: dict[str, str]) -> None:
    app = site()
    latchkey.protect(app, errors="application")
    app.register_error_handler(InvalidCredential, lambda error: (error.message, 401))
    app.register_error_handler(InsufficientScope, lambda error: (f"needs {error.scope}", 403))
    assert call(app.wsgi_app, "/orders", bearer("sk_live_x")).body == b"Invalid API key provided"
    assert call(app.wsgi_app, "/orders", reader).body == b"needs orders:read"


def test_without_handlers_flask_answers(latchkey: Latchkey) -> None:
    app = site(with_handlers=False)
    latchkey.protect(app, errors="application")
    answer = call(app.wsgi_app, "/orders")
    assert (answer.status, b"<title>401 Unauthorized</title>" in answer.body) == (401, True)
    assert call(app.wsgi_app, "/orders", method="HEAD").body == b""


def test_a_refused_request_reaches_nothing_inside_of_the_check(latchkey: Latchkey) -> None:
    """Middleware between the check and Flask would serve it."""
    app = site()

    def metrics(environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"confidential"]

    inner: Any = DispatcherMiddleware(app.wsgi_app, {"/metrics": metrics})
    app.wsgi_app = inner  # type: ignore[method-assign]
    latchkey.protect(app, errors="application")
    answer = call(app.wsgi_app, "/metrics")
    assert (answer.status, b"confidential" in answer.body) == (401, False)


def test_cors_headers_reach_refusals_by_the_handlers(latchkey: Latchkey) -> None:
    app = site()
    CORS(app, origins=["https://shop.example"])
    latchkey.protect(app, OpenRoutes({("OPTIONS", "/orders")}), errors="application")
    origin = {"Origin": "https://shop.example"}
    answer = call(app.wsgi_app, "/orders", origin)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (
        401,
        "https://shop.example",
    )
    asked = {**origin, "Access-Control-Request-Method": "GET"}
    preflight = call(app.wsgi_app, "/orders", asked, method="OPTIONS")
    assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (
        200,
        "https://shop.example",
    )


def test_every_error_in_the_envelope(latchkey: Latchkey, reader: dict[str, str]) -> None:
    app = site(with_handlers=False)
    latchkey.protect(app, errors="every")
    assert call(app.wsgi_app, "/nowhere", reader).error["code"] == "not_found"
    assert call(app.wsgi_app, "/taken", reader).error["code"] == "invalid_request"
    assert call(app.wsgi_app, "/orders").error["code"] == "UNAUTHORIZED"


def test_another_way_is_refused(latchkey: Latchkey) -> None:
    app = site()
    with pytest.raises(ValueError, match="errors must be one of latchkey, every, application"):
        latchkey.protect(app, errors="mine")  # type: ignore[arg-type]
    assert "latchkey" not in app.extensions
    assert ApiError not in app.error_handler_spec[None][None]
