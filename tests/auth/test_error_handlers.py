"""Errors of a view in the JSON envelope: those of Latchkey and werkzeug, and unexpected ones."""

from __future__ import annotations

import logging

import pytest
from flask import Flask, abort
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from latchkey.errors import KeyExpired, StoreError
from latchkey.flask.error_handlers import answer_every_error, answer_our_errors
from latchkey.wsgi_answers import PRINCIPAL_KEY

CONFIDENTIAL = "what only the log may know"


class Teapot(HTTPException):
    code = 418
    description = CONFIDENTIAL


RAISED: dict[str, Exception] = {
    "ours": KeyExpired(),
    "store": StoreError(CONFIDENTIAL),
    "unforeseen": ValueError(CONFIDENTIAL),
    "teapot": Teapot(),
}


def views() -> Flask:
    app = Flask("views")

    @app.get("/v1/raise/<what>")
    def fail(what: str) -> str:
        raise RAISED[what]

    @app.get("/v1/abort/<int:status>")
    def give_up(status: int) -> str:
        abort(status, CONFIDENTIAL)

    return app


@pytest.fixture(params=[False, True], ids=["pair", "bearer"])
def bearer(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def app() -> Flask:
    app = views()
    answer_every_error(app)
    return app


def ask(app: Flask, path: str, bearer: bool, method: str = "GET") -> TestResponse:
    headers = {"Authorization": "Bearer x"} if bearer else {"X-Api-Key": "x"}
    # Any account that passed the middleware.
    return app.test_client().open(
        path, method=method, headers=headers, environ_overrides={PRINCIPAL_KEY: object()}
    )


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/raise/ours", 409, "key_expired"),
        ("/v1/raise/store", 500, "internal_error"),
        ("/v1/raise/unforeseen", 500, "internal_error"),
        ("/v1/raise/teapot", 400, "invalid_request"),
        ("/v1/abort/400", 400, "invalid_request"),
        ("/v1/abort/404", 404, "not_found"),
        ("/v1/abort/410", 400, "invalid_request"),
        ("/v1/abort/413", 413, "payload_too_large"),
        ("/v1/abort/500", 500, "internal_error"),
        ("/v1/abort/503", 500, "internal_error"),
        ("/v1/nowhere", 404, "not_found"),
    ],
)
def test_each_error_is_answered_in_the_envelope(
    app: Flask, path: str, status: int, code: str, bearer: bool
) -> None:
    answer = ask(app, path, bearer)
    assert answer.status_code == status
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.get_json()["error"]["code"] == (code if bearer else code.upper())
    assert CONFIDENTIAL not in answer.text


def test_a_method_that_does_not_exist(app: Flask, bearer: bool) -> None:
    answer = ask(app, "/v1/raise/ours", bearer, "POST")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_the_log_says_what_happened(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    ask(app, "/v1/raise/unforeseen", True)
    ask(app, "/v1/raise/store", True)
    unforeseen, store = caplog.records
    assert (unforeseen.name, unforeseen.levelno) == ("latchkey", logging.ERROR)
    assert unforeseen.getMessage() == "unexpected failure in fail"
    assert unforeseen.exc_info is not None
    assert unforeseen.exc_info[1] is RAISED["unforeseen"]
    # A disk fault needs no traceback of Latchkey.
    assert store.getMessage() == f"database failure: {CONFIDENTIAL}"
    assert store.exc_info is None


def test_an_own_application_answers_its_own_errors(bearer: bool) -> None:
    app = views()
    answer_our_errors(app)
    assert ask(app, "/v1/raise/ours", bearer).get_json()["error"]["type"] == "conflict_error"
    assert ask(app, "/v1/abort/404", bearer).mimetype == "text/html"
    assert ask(app, "/v1/raise/teapot", bearer).status_code == 418
    assert ask(app, "/v1/raise/unforeseen", bearer).mimetype == "text/html"
