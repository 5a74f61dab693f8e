"""Answers of WSGI: errors in the dialect of a request, and the headers about limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from latchkey.check.headers import bearer_presented, dialect_of, dialect_of_path
from latchkey.error_answers import envelope, error_headers, status_line
from latchkey.errors import (
    ApiError,
    ExpiredCredential,
    InvalidCredential,
    MissingCredential,
    RevokedCredential,
)
from latchkey.errors.base import Dialect
from latchkey.errors.limits import HeaderStyle, LimitState

PRINCIPAL_KEY = "latchkey.principal"

Answer = tuple[bytes, list[tuple[str, str]]]
"""The body and the headers of an error response."""


def showing_limits(
    start_response: StartResponse, state: LimitState, style: HeaderStyle
) -> StartResponse:
    """A ``start_response`` that adds the headers of limits, as they are when it is called."""

    def start(
        status: str, headers: list[tuple[str, str]], exc_info: object = None, /
    ) -> Callable[[bytes], object]:
        shown = [*headers, *state.headers(style)]
        if exc_info is None:
            return start_response(status, shown)
        return start_response(status, shown, exc_info)  # type: ignore[arg-type]

    return start


def answer_error(
    error: ApiError, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Answer a WSGI request with an error, in the request's dialect and with its challenge."""
    body, headers = error_answer(error, environ)
    start_response(status_line(error), headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def error_answer(error: ApiError, environ: WSGIEnvironment) -> Answer:
    """The body and the headers of an error's answer to this request."""
    on_open_route = environ.get(PRINCIPAL_KEY, ...) is None
    dialect: Dialect
    if on_open_route:
        # Credentials sent to an open route are ignored.
        dialect, bearer = dialect_of_path(environ.get("PATH_INFO", "")), False
    else:
        bearer = bearer_presented(environ)
        dialect = dialect_of(environ, bearer)
    if error.message == error.default_message:
        constant = _CONSTANT.get((type(error), dialect, bearer))
        if constant is not None:
            return constant[0], list(constant[1])
    return _made_answer(error, dialect, bearer)


def _made_answer(error: ApiError, dialect: Dialect, bearer: bool) -> Answer:
    body = envelope(error, dialect)
    return body, error_headers(error, body, bearer_presented=bearer)


# The response in floods, built once: it does not depend on the request.
_DIALECTS: tuple[Dialect, ...] = ("pair", "bearer")
_CONSTANT: dict[tuple[type[ApiError], Dialect, bool], Answer] = {
    (kind, dialect, bearer): _made_answer(kind(), dialect, bearer)
    for kind in (MissingCredential, InvalidCredential, RevokedCredential, ExpiredCredential)
    for dialect in _DIALECTS
    for bearer in (False, True)
}
