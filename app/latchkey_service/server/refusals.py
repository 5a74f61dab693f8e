"""Responses to requests that the server refuses before they reach the application."""

from __future__ import annotations

import socket
from types import TracebackType

from gunicorn.http import errors as http_errors
from gunicorn.http.message import Message
from gunicorn.util import http_date, unquote_to_wsgi_str

from latchkey.check.headers import dialect_of_path
from latchkey.error_answers import envelope, error_headers, status_line
from latchkey.errors import (
    ApiError,
    ExpectationFailed,
    HeadersTooLarge,
    InternalError,
    InvalidRequest,
    TargetTooLong,
    UnsupportedTransferCoding,
)
from latchkey_service.verify.answers import for_nginx
from latchkey_service.verify.originals import AREA, NGINX

_SEND_TIMEOUT = 2.0
# Subclasses of ParseException that are about the response of the application.
_OUR_FAULTS = (
    http_errors.InvalidResponseHeader,  # type: ignore[attr-defined]
    http_errors.InvalidResponseHeaderName,  # type: ignore[attr-defined]
)


def refusal(exc: BaseException) -> ApiError:
    """The error for the client after an exception in gunicorn."""
    if isinstance(exc, _OUR_FAULTS):
        return InternalError()
    match exc:
        case http_errors.LimitRequestLine():
            return TargetTooLong()
        case http_errors.LimitRequestHeaders():
            return HeadersTooLarge()
        case http_errors.ExpectationFailed():
            return ExpectationFailed()
        case http_errors.UnsupportedTransferCoding():
            return UnsupportedTransferCoding()
        case http_errors.ParseException():
            return InvalidRequest("The request is not valid HTTP")
    return InternalError()


def message_of(traceback: TracebackType | None) -> Message | None:
    """The possibly incomplete message that was being parsed; None if parsing had not started.

    gunicorn passes a message only after parsing it, so this searches the frames of the parser.
    """
    while traceback is not None:
        message = traceback.tb_frame.f_locals.get("self")
        if isinstance(message, Message):
            return message
        traceback = traceback.tb_next
    return None


def send_refusal(client: socket.socket, error: ApiError, message: Message | None) -> None:
    """Send the error directly on the connection, in the dialect of the path if that is known.

    Raises OSError if the client has closed the connection.
    """
    # The path in the form that the application would receive.
    path = unquote_to_wsgi_str(getattr(message, "path", None) or "")
    body = envelope(error, dialect_of_path(path))
    headers = [
        *(("Date", http_date()), ("Connection", "close")),
        *error_headers(error, body, bearer_presented=False),
    ]
    status = status_line(error)
    if path == f"{AREA}{NGINX.name}":
        status, more = for_nginx(error, body)
        headers += more
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    if getattr(message, "method", None) == "HEAD":
        body = b""
    client.settimeout(_SEND_TIMEOUT)
    client.sendall(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)
