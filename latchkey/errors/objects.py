"""Errors about stored objects: unknown ones, and changes that conflict with their state."""

from __future__ import annotations

from http import HTTPStatus

from latchkey.errors.base import ApiError


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


class AccountNotFound(NotFound):
    """404: the account is unknown, or beyond the caller's reach."""

    pair_code = "ACCOUNT_NOT_FOUND"
    default_message = "No such account"


class DuplicateExternalId(ApiError):
    """409: another account has this external id."""

    status = HTTPStatus.CONFLICT
    type = "conflict_error"
    pair_code = "DUPLICATE_EXTERNAL_ID"
    default_message = "Another account has this external id"


class DuplicateApiKey(ApiError):
    """409: the key is already registered; a revoked key stays revoked."""

    status = HTTPStatus.CONFLICT
    type = "conflict_error"
    pair_code = "DUPLICATE_API_KEY"
    default_message = "Already registered"


class AlreadyCreated(ApiError):
    """409: an earlier request with the same idempotency key has created a key.

    The message names the key. Its secret is not shown again.
    """

    status = HTTPStatus.CONFLICT
    type = "conflict_error"
    pair_code = "ALREADY_CREATED"

    def __init__(self, api_key: str) -> None:
        super().__init__(f"Already created: {api_key}")


class IdempotencyKeyReused(ApiError):
    """422: the caller has used this idempotency key for another request."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    type = "invalid_request_error"
    pair_code = "IDEMPOTENCY_KEY_REUSED"
    default_message = "This Idempotency-Key was used for another request; send a new value"


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
