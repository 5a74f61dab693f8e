"""Requests that cannot be understood or served: 400, 405, 413 to 431, 429 and 5xx."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from latchkey.errors.base import ApiError


class InvalidRequest(ApiError):
    """400: the request as a whole cannot be parsed."""

    status = HTTPStatus.BAD_REQUEST
    type = "invalid_request_error"
    pair_code = "INVALID_REQUEST"
    default_message = "The request could not be understood"

    def challenge_parameters(self) -> str | None:
        return 'error="invalid_request"' if self.status is HTTPStatus.BAD_REQUEST else None


class InvalidField(InvalidRequest):
    """400: a field is invalid; ``field`` names it, and the message never repeats its value."""

    pair_code = "INVALID_FIELD"

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        super().__init__(f"{field}: {problem}")


class PayloadTooLarge(InvalidRequest):
    """413: the body exceeds the limit of the service."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    pair_code = "PAYLOAD_TOO_LARGE"
    default_message = "The body is larger than 16 KiB"


class TargetTooLong(InvalidRequest):
    """414: the request line, with the path and the query, exceeds the server's limit."""

    status = HTTPStatus.REQUEST_URI_TOO_LONG
    pair_code = "URI_TOO_LONG"
    default_message = "The path and query are longer than the server accepts"


class UnsupportedMediaType(InvalidRequest):
    """415: the Content-Type of the body is not JSON."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    pair_code = "UNSUPPORTED_MEDIA_TYPE"
    default_message = "Send the body as UTF-8 JSON, with Content-Type: application/json"


class ExpectationFailed(InvalidRequest):
    """417: the server does not support the ``Expect`` header, or has no free thread to wait."""

    status = HTTPStatus.EXPECTATION_FAILED
    pair_code = "EXPECTATION_FAILED"
    default_message = "The server cannot meet this expectation: send the request without Expect"


class HeadersTooLarge(InvalidRequest):
    """431: the headers exceed the server's limit."""

    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    pair_code = "HEADERS_TOO_LARGE"
    default_message = "The request headers are larger than the server accepts"


class UnsupportedTransferCoding(InvalidRequest):
    """501: the server does not support the ``Transfer-Encoding``."""

    status = HTTPStatus.NOT_IMPLEMENTED
    pair_code = "NOT_IMPLEMENTED"
    default_message = "The only supported transfer coding is chunked"


class MethodNotAllowed(InvalidRequest):
    """405: the route exists, but not with this method."""

    status = HTTPStatus.METHOD_NOT_ALLOWED
    pair_code = "METHOD_NOT_ALLOWED"
    default_message = "This route does not support this method"

    def __init__(self, allowed: frozenset[str] = frozenset()) -> None:
        self.allowed = allowed
        super().__init__()

    def extra_headers(self) -> Mapping[str, str]:
        return {"Allow": ", ".join(sorted(self.allowed))}


class TooManyFailures(ApiError):
    """429: too many refused credentials from one caller; ``retry_after`` is in seconds."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    type = "rate_limit_error"
    pair_code = "TOO_MANY_FAILURES"
    default_message = "Too many invalid credentials from this address; try again later"
    retry_after: int

    def __init__(self, retry_after: int, message: str | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class InternalError(ApiError):
    """500: an internal fault, described in the log and not in the response."""


class StoreError(InternalError):
    """500: the database failed, reading or writing. ``detail`` is only for the log."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__()

    def __str__(self) -> str:
        return self.detail


class NotReady(ApiError):
    """503: the readiness check found the database unusable."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    pair_code = "NOT_READY"
    default_message = "The database does not answer"


class ChangesBusy(ApiError):
    """503: too many changes are waiting for the database; this one was not started."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    pair_code = "UNAVAILABLE"
    default_message = "Other changes are waiting for the database. Try again in a moment"
    retry_after = 1


class PasswordsBusy(ApiError):
    """503: too many passwords are being verified; this attempt was not checked or counted."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    pair_code = "BUSY"
    default_message = "Other sign-ins are in progress. Try again in a moment"
    retry_after = 1


class ExportsBusy(ApiError):
    """503: another export would leave too few threads for other requests."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    pair_code = "EXPORTS_BUSY"
    default_message = "Other exports are in progress. Try again when they have finished"
    retry_after = 10
