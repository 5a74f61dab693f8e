"""Error pages of the console. Details that only the log may contain are left out."""

from __future__ import annotations

import logging
from http import HTTPStatus

from flask import Flask, Response, render_template, request
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from latchkey.errors import ApiError, InternalError, StoreError

log = logging.getLogger("latchkey")

_MESSAGES = {
    HTTPStatus.NOT_FOUND: "This page does not exist.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This page does not support this request method.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request is too large.",
}
_FORGED = (
    "This form has expired or does not belong to this browser session. Nothing was changed. Go "
    "back, reload the page, and try again."
)
_DATABASE = "The database is not available. See the service log for details."
_OURS = "Internal error. See the service log for details."


def answer_errors(app: Flask) -> None:
    """Register error pages for all exceptions."""
    app.register_error_handler(ApiError, _answer_ours)
    app.register_error_handler(CSRFError, _answer_forged)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_unexpected)


def error_page(status: HTTPStatus, message: str) -> Response:
    """The page for an error."""
    return Response(
        render_template("error.html", status=status, message=message), status=status.value
    )


def _answer_ours(error: ApiError) -> Response:
    if isinstance(error, StoreError):
        log.error("database failure: %s", error.detail)
        message = _DATABASE
    elif isinstance(error, InternalError):
        message = _OURS
    else:
        # The messages of the API for these statuses describe its own limits.
        message = _MESSAGES.get(error.status, f"{error.message}.")
    page = error_page(error.status, message)
    page.headers.update(error.extra_headers())
    return page


def _answer_forged(error: CSRFError) -> Response:
    return error_page(HTTPStatus.BAD_REQUEST, _FORGED)


def _answer_http(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    if status < 400:
        # A redirect by the router.
        return Response(error.get_body(), status=status.value, headers=error.get_headers())
    if status >= 500:
        return error_page(status, _OURS)
    page = error_page(status, _MESSAGES.get(status, "The request could not be understood."))
    for name, value in error.get_headers():
        if name == "Allow":
            page.headers[name] = value
    return page


def _answer_unexpected(error: Exception) -> Response:
    log.error("unexpected error in the console view %s", request.endpoint, exc_info=error)
    return error_page(HTTPStatus.INTERNAL_SERVER_ERROR, _OURS)
