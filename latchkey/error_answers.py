"""The HTTP form of errors: the JSON envelope, the headers with the challenge, the status line."""

from __future__ import annotations

import json
from http import HTTPStatus

from latchkey.errors import ApiError
from latchkey.errors.base import Dialect

REALM = "latchkey"
_STATUS_LINES = {status: f"{status.value} {status.phrase}" for status in HTTPStatus}


def envelope(error: ApiError, dialect: Dialect) -> bytes:
    """The error's JSON body, in UTF-8: ``{"error": {"type", "code", "message"}}``."""
    fields = {"type": error.type, "code": error.code(dialect), "message": error.message}
    return json.dumps({"error": fields}, ensure_ascii=False).encode()


def error_headers(error: ApiError, body: bytes, *, bearer_presented: bool) -> list[tuple[str, str]]:
    """The headers of an error response, with the challenge of RFC 6750 section 3."""
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        *error.extra_headers().items(),
    ]
    # Every 401 has a challenge, other statuses only if a bearer credential was presented.
    parameters = error.challenge_parameters() if bearer_presented else None
    if parameters is not None:
        headers.append(("WWW-Authenticate", f'Bearer realm="{REALM}", {parameters}'))
    elif error.status is HTTPStatus.UNAUTHORIZED:
        headers.append(("WWW-Authenticate", f'Bearer realm="{REALM}"'))
    return headers


def status_line(error: ApiError) -> str:
    """The status line for WSGI: ``401 Unauthorized``."""
    return _STATUS_LINES[error.status]
