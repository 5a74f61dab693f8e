"""Error responses of a Flask application in the JSON envelope."""

from __future__ import annotations

import logging

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
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
from latchkey.wsgi import error_answer

log = logging.getLogger("latchkey")


def answer_our_errors(app: Flask) -> None:
    """Have ``app`` answer Latchkey's errors in the envelope; its own errors are unchanged."""
    app.register_error_handler(ApiError, _answer)


def answer_every_error(app: Flask) -> None:
    """Have ``app`` answer every error in the envelope, as the API promises."""
    answer_our_errors(app)
    app.register_error_handler(HTTPException, lambda error: _answer(_translate(error)))
    app.register_error_handler(Exception, _answer_unexpected)


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
