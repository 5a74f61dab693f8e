"""Refusals of a credential: 401 if it is not valid, 403 if it is not permitted."""

from __future__ import annotations

from http import HTTPStatus

from latchkey.errors.base import ApiError


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
    """401: the key or its account is disabled, and the secret was correct."""

    bearer_code = "key_disabled"
    default_message = "API key is disabled"


class NotYetValidCredential(AuthenticationError):
    """401: the time is before ``not_before`` of the key, and the secret was correct."""

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


class NeedsInstanceAccount(PermissionDenied):
    """403: only keys of the instance account may do this, and changes need a live one."""

    default_message = "This request needs a key of the instance account"

    def challenge_parameters(self) -> str | None:
        return 'error="insufficient_scope"'


class AddressNotAllowed(PermissionDenied):
    """403: the key may not be used from the caller's address."""

    pair_code = "ADDRESS_NOT_ALLOWED"
    default_message = "This API key cannot be used from this network address"


class EndpointNotAllowed(PermissionDenied):
    """403: the key may not be used for this method and path."""

    pair_code = "ENDPOINT_NOT_ALLOWED"
    default_message = "This API key cannot be used for this method and path"


class ModeNotAllowed(PermissionDenied):
    """403: the application does not admit keys of the caller's mode."""

    pair_code = "MODE_NOT_ALLOWED"
    default_message = "API keys of this mode are not accepted here"
