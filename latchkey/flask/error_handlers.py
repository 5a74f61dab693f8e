"""Error responses of a Flask application: in the JSON envelope, or by its own error handlers."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import Literal, get_args
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask, Response, after_this_request, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import (
    HTTPException,
    InternalServerError,
    RequestEntityTooLarge,
    default_exceptions,
)
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed

from latchkey.errors import (
    ApiError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    StoreError,
)
from latchkey.wsgi_answers import error_answer

Errors = Literal["latchkey", "every", "application"]
"""The errors that Latchkey answers: its own, every error, or none."""

REFUSAL_KEY = "latchkey.refusal"

log = logging.getLogger("latchkey")

# Those of the envelope's body.
_OF_THE_BODY = ("Content-Type", "Content-Length")


def answer_errors(app: Flask, errors: Errors) -> None:
    """Register the error handlers for one of the ways; raises ValueError for any other."""
    if errors == "latchkey":
        answer_our_errors(app)
    elif errors == "every":
        answer_every_error(app)
    elif errors == "application":
        app.register_error_handler(ApiError, partial(_answer_by_application, app))
    else:
        raise ValueError(f"errors must be one of {', '.join(get_args(Errors))}, not {errors!r}")


def answer_our_errors(app: Flask) -> None:
    """Have ``app`` answer Latchkey's errors in the envelope; its own errors are unchanged."""
    app.register_error_handler(ApiError, _answer)


def answer_every_error(app: Flask) -> None:
    """Have ``app`` answer every error in the envelope, as the API promises."""
    answer_our_errors(app)
    app.register_error_handler(HTTPException, lambda error: _answer(_translate(error)))
    app.register_error_handler(Exception, _answer_unexpected)


def pass_to_handlers(
    app: Flask, error: ApiError, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Answer a refused request by the application's error handlers.

    It goes to Flask directly: WSGI middleware inside of the check must not see it.
    """
    environ[REFUSAL_KEY] = error
    return type(app).wsgi_app(app, environ, start_response)


def _answer_by_application(app: Flask, error: ApiError) -> ResponseReturnValue:
    """The answer of the application's handler for the status of an error of Latchkey.

    The handler gets an exception of werkzeug, which has the error as its ``__cause__``.
    """
    if isinstance(error, StoreError):
        log.error("database failure: %s", error.detail)
    _, headers = error_answer(error, request.environ)

    @after_this_request
    def add_headers(response: Response) -> Response:
        for name, value in headers:
            if name not in _OF_THE_BODY:
                response.headers.setdefault(name, value)
        return response

    kind = default_exceptions.get(error.status.value, InternalServerError)
    translated = kind(description=error.message)
    translated.__cause__ = error
    return app.handle_http_exception(translated)


def _answer(error: ApiError) -> Response:
    if isinstance(error, StoreError):
        log.error("database failure: %s", error.detail)
    body, headers = error_answer(error, request.environ)
    return Response(body, status=error.status.value, headers=headers)


def _answer_unexpected(error: Exception) -> Response:
    log.error("unexpected failure in %s", request.endpoint, exc_info=error)
    return _answer(InternalError())


def _translate(error: HTTPException) -> ApiError:
    """The error of Latchkey for an exception of werkzeug."""
    if isinstance(error, WerkzeugMethodNotAllowed):
        return MethodNotAllowed(frozenset(error.valid_methods or ()))
    if isinstance(error, RequestEntityTooLarge):
        return PayloadTooLarge()
    if error.code == 404:
        return NotFound()
    if error.code is not None and error.code < 500:
        return InvalidRequest()
    return InternalError()
