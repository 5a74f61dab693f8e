"""Every error of Latchkey in one hierarchy, and their JSON form. No error contains a secret.

An error has two spellings of its code: ``UNAUTHORIZED`` in the pair dialect, and
``invalid_api_key`` in the bearer dialect. docs/how-to/use-a-key.md lists what a client sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar, Literal

__all__ = [
    "AddressNotAllowed",
    "AlreadyRotated",
    "ApiError",
    "AuthenticationError",
    "ChangesBusy",
    "ConfigurationError",
    "CredentialNotFound",
    "DisabledCredential",
    "DuplicateApiKey",
    "EndpointNotAllowed",
    "ExpectationFailed",
    "ExpiredCredential",
    "ExportsBusy",
    "HeadersTooLarge",
    "InsufficientScope",
    "InternalError",
    "InvalidCredential",
    "InvalidField",
    "InvalidRequest",
    "KeyExpired",
    "LatchkeyError",
    "MethodNotAllowed",
    "MissingCredential",
    "NoPrincipal",
    "NotDerived",
    "NotFound",
    "NotReady",
    "NotYetValidCredential",
    "PasswordsBusy",
    "PayloadTooLarge",
    "PermissionDenied",
    "RateLimited",
    "RevokedCredential",
    "ServiceUnreachable",
    "StoreError",
    "TargetTooLong",
    "UnsupportedMediaType",
    "UnsupportedTransferCoding",
]

Dialect = Literal["pair", "bearer"]


class LatchkeyError(Exception):
    """The base class of all errors of Latchkey."""


class ConfigurationError(LatchkeyError):
    """A setting, a file or the environment is wrong. The message is the one line to show."""


class NoPrincipal(LatchkeyError, RuntimeError, AttributeError):
    """`current_principal` was used without a principal. An AttributeError, for ``getattr``."""

    def __init__(self) -> None:
        super().__init__(
            "there is no principal: the route is open, or no request is being handled; "
            "principal_or_none() returns None in that case"
        )


class ServiceUnreachable(LatchkeyError):
    """A command needs the shared memory of a service, and cannot reach it."""


class ApiError(LatchkeyError):
    """An error with an HTTP response: the base class of all errors that a client can get."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    type: ClassVar[str] = "api_error"
    pair_code: ClassVar[str] = "INTERNAL_ERROR"
    bearer_code: ClassVar[str | None] = None
    default_message: ClassVar[str] = "Internal error: the service could not process the request"
    retry_after: int | None = None
    """Seconds after which a retry makes sense, for Retry-After; None omits the header."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message or self.default_message
        super().__init__(self.message)

    def code(self, dialect: Dialect) -> str:
        """The code in the spelling of the dialect."""
        if dialect == "pair":
            return self.pair_code
        return self.bearer_code or self.pair_code.lower()

    def extra_headers(self) -> Mapping[str, str]:
        """Headers of this error in addition to the common ones."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    def challenge_parameters(self) -> str | None:
        """The parameters of a bearer challenge after the realm (RFC 6750 section 3)."""
        return None


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


class AuthenticationError(ApiError):
    """401: the base class of all refusals of a credential."""

    status = HTTPStatus.UNAUTHORIZED
    type = "authentication_error"
    pair_code = "UNAUTHORIZED"

    def challenge_parameters(self) -> str | None:
        return 'error="invalid_token"'


class MissingCredential(AuthenticationError):
    """401: no credential, or only half of a pair, was presented."""

    bearer_code = "missing_api_key"
    default_message = "No API key provided"


class InvalidCredential(AuthenticationError):
    """401: malformed, unknown, or a wrong secret; the response does not say which."""

    bearer_code = "invalid_api_key"
    default_message = "Invalid API key provided"


class RevokedCredential(AuthenticationError):
    """401: the credential is revoked, and its secret was correct."""

    bearer_code = "key_revoked"
    default_message = "API key has been revoked"


class ExpiredCredential(AuthenticationError):
    """401: the credential has expired, and its secret was correct."""

    bearer_code = "key_expired"
    default_message = "API key has expired"


class DisabledCredential(AuthenticationError):
    """401: disabled for the time being, and the full secret was right."""

    bearer_code = "key_disabled"
    default_message = "API key is disabled"


class NotYetValidCredential(AuthenticationError):
    """401: before its ``not_before``, and the full secret was right."""

    bearer_code = "key_not_yet_valid"
    default_message = "API key is not valid yet"


class PermissionDenied(ApiError):
    """403: the base class for requests that a valid caller may not make."""

    status = HTTPStatus.FORBIDDEN
    type = "permission_error"
    pair_code = "INSUFFICIENT_SCOPE"


class NotDerived(PermissionDenied):
    """403: the secret to register was not made with a current derivation key."""

    pair_code = "INVALID_CREDENTIAL"
    default_message = "The secret does not belong to this key"


class InsufficientScope(PermissionDenied):
    """403: the caller lacks ``scope``; None if no scope would permit the request."""

    def __init__(self, scope: str | None, message: str | None = None) -> None:
        self.scope = scope
        super().__init__(message or f"This request needs the scope {scope}")

    def challenge_parameters(self) -> str | None:
        if self.scope is None:
            return 'error="insufficient_scope"'
        return f'error="insufficient_scope", scope="{self.scope}"'


class AddressNotAllowed(PermissionDenied):
    """403: the key may not be used from the caller's address."""

    pair_code = "ADDRESS_NOT_ALLOWED"
    default_message = "This API key cannot be used from this network address"


class EndpointNotAllowed(PermissionDenied):
    """403: the key may not be used for this method and path."""

    pair_code = "ENDPOINT_NOT_ALLOWED"
    default_message = "This API key cannot be used for this method and path"


class NotFound(ApiError):
    """404: the route or object does not exist."""

    status = HTTPStatus.NOT_FOUND
    type = "not_found_error"
    pair_code = "NOT_FOUND"
    default_message = "No such route"


class CredentialNotFound(NotFound):
    """404: the credential is unknown, of the other mode, or already revoked."""

    pair_code = "CREDENTIAL_NOT_FOUND"
    default_message = "No such credential"


class DuplicateApiKey(ApiError):
    """409: the key is already registered; a revoked key stays revoked."""

    status = HTTPStatus.CONFLICT
    type = "conflict_error"
    pair_code = "DUPLICATE_API_KEY"
    default_message = "Already registered"


class KeyExpired(ApiError):
    """409: an expired key cannot be rotated; ``successor`` is the key it was rotated to."""

    status = HTTPStatus.CONFLICT
    type = "conflict_error"
    pair_code = "KEY_EXPIRED"
    default_message = "The key has expired"

    def __init__(self, successor: str | None = None) -> None:
        super().__init__(successor and f"{self.default_message}; its successor is {successor}")


class AlreadyRotated(ApiError):
    """409: the key has an active successor. The message names it."""

    status = HTTPStatus.CONFLICT
    type = "conflict_error"
    pair_code = "ALREADY_ROTATED"

    def __init__(self, successor: str) -> None:
        super().__init__(f"Already rotated; its successor is {successor}")


class RateLimited(ApiError):
    """429: too many refused credentials from one address; ``retry_after`` is in seconds."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    type = "rate_limit_error"
    pair_code = "RATE_LIMITED"
    default_message = "Too many invalid credentials from this address; try again later"
    retry_after: int

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__()


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
