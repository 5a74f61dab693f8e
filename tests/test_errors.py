"""The exceptions: one root, one JSON form, two spellings, and all distinguishable."""

from __future__ import annotations

import copy
import inspect
import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import get_args

import pytest

from latchkey import errors
from latchkey.error_answers import envelope, error_headers, status_line
from latchkey.errors import ApiError, LatchkeyError
from latchkey.errors.base import Dialect

DIALECTS: tuple[Dialect, ...] = get_args(Dialect)

# Errors that a client cannot tell from another one, with the reason.
SAME_AS: dict[type[ApiError], str] = {
    errors.ApiError: "the base class; by itself it looks like InternalError",
    errors.InternalError: "the response to every internal fault",
    errors.StoreError: "a client learns no more about the database than about other faults",
    errors.AuthenticationError: "the base class of refusals, never raised itself",
    errors.PermissionDenied: "the base class of 403 errors, never raised itself",
    errors.LimitReached: "the base class of refusals by a limit, never raised itself",
    errors.NeedsInstanceAccount: "another key is needed, as for a missing scope",
}

# The table of the specification: status, type, pair code, bearer code.
TABLE: dict[type[ApiError], tuple[int, str, str, str]] = {
    errors.MissingCredential: (401, "authentication_error", "UNAUTHORIZED", "missing_api_key"),
    errors.InvalidCredential: (401, "authentication_error", "UNAUTHORIZED", "invalid_api_key"),
    errors.RevokedCredential: (401, "authentication_error", "UNAUTHORIZED", "key_revoked"),
    errors.ExpiredCredential: (401, "authentication_error", "UNAUTHORIZED", "key_expired"),
    errors.DisabledCredential: (401, "authentication_error", "UNAUTHORIZED", "key_disabled"),
    errors.NotYetValidCredential: (
        401,
        "authentication_error",
        "UNAUTHORIZED",
        "key_not_yet_valid",
    ),
    errors.AddressNotAllowed: (
        403,
        "permission_error",
        "ADDRESS_NOT_ALLOWED",
        "address_not_allowed",
    ),
    errors.EndpointNotAllowed: (
        403,
        "permission_error",
        "ENDPOINT_NOT_ALLOWED",
        "endpoint_not_allowed",
    ),
    errors.ModeNotAllowed: (403, "permission_error", "MODE_NOT_ALLOWED", "mode_not_allowed"),
    errors.NotDerived: (403, "permission_error", "INVALID_CREDENTIAL", "invalid_credential"),
    errors.InsufficientScope: (403, "permission_error", "INSUFFICIENT_SCOPE", "insufficient_scope"),
    errors.CredentialNotFound: (
        404,
        "not_found_error",
        "CREDENTIAL_NOT_FOUND",
        "credential_not_found",
    ),
    errors.NotFound: (404, "not_found_error", "NOT_FOUND", "not_found"),
    errors.MethodNotAllowed: (
        405,
        "invalid_request_error",
        "METHOD_NOT_ALLOWED",
        "method_not_allowed",
    ),
    errors.DuplicateApiKey: (409, "conflict_error", "DUPLICATE_API_KEY", "duplicate_api_key"),
    errors.KeyExpired: (409, "conflict_error", "KEY_EXPIRED", "key_expired"),
    errors.AccountNotFound: (404, "not_found_error", "ACCOUNT_NOT_FOUND", "account_not_found"),
    errors.NeedsInstanceAccount: (
        403,
        "permission_error",
        "INSUFFICIENT_SCOPE",
        "insufficient_scope",
    ),
    errors.DuplicateExternalId: (
        409,
        "conflict_error",
        "DUPLICATE_EXTERNAL_ID",
        "duplicate_external_id",
    ),
    errors.AlreadyCreated: (409, "conflict_error", "ALREADY_CREATED", "already_created"),
    errors.IdempotencyKeyReused: (
        422,
        "invalid_request_error",
        "IDEMPOTENCY_KEY_REUSED",
        "idempotency_key_reused",
    ),
    errors.AlreadyRotated: (409, "conflict_error", "ALREADY_ROTATED", "already_rotated"),
    errors.InvalidRequest: (400, "invalid_request_error", "INVALID_REQUEST", "invalid_request"),
    errors.InvalidField: (400, "invalid_request_error", "INVALID_FIELD", "invalid_field"),
    errors.PayloadTooLarge: (
        413,
        "invalid_request_error",
        "PAYLOAD_TOO_LARGE",
        "payload_too_large",
    ),
    errors.UnsupportedMediaType: (
        415,
        "invalid_request_error",
        "UNSUPPORTED_MEDIA_TYPE",
        "unsupported_media_type",
    ),
    errors.HeadersTooLarge: (
        431,
        "invalid_request_error",
        "HEADERS_TOO_LARGE",
        "headers_too_large",
    ),
    errors.TargetTooLong: (414, "invalid_request_error", "URI_TOO_LONG", "uri_too_long"),
    errors.ExpectationFailed: (
        417,
        "invalid_request_error",
        "EXPECTATION_FAILED",
        "expectation_failed",
    ),
    errors.UnsupportedTransferCoding: (
        501,
        "invalid_request_error",
        "NOT_IMPLEMENTED",
        "not_implemented",
    ),
    errors.RateLimited: (429, "rate_limit_error", "RATE_LIMITED", "rate_limited"),
    errors.QuotaExceeded: (429, "rate_limit_error", "QUOTA_EXCEEDED", "quota_exceeded"),
    errors.TooManyFailures: (
        429,
        "rate_limit_error",
        "TOO_MANY_FAILURES",
        "too_many_failures",
    ),
    errors.InternalError: (500, "api_error", "INTERNAL_ERROR", "internal_error"),
    errors.StoreError: (500, "api_error", "INTERNAL_ERROR", "internal_error"),
    errors.NotReady: (503, "api_error", "NOT_READY", "not_ready"),
    errors.ChangesBusy: (503, "api_error", "UNAVAILABLE", "unavailable"),
    errors.PasswordsBusy: (503, "api_error", "BUSY", "busy"),
    errors.ExportsBusy: (503, "api_error", "EXPORTS_BUSY", "exports_busy"),
}


def _below(kind: type[ApiError]) -> Iterator[type[ApiError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def _is_ours(kind: type[ApiError]) -> bool:
    """Whether it is one of the package: tests derive errors too."""
    return kind.__module__.startswith(f"{errors.__name__}.")


ALL: list[type[ApiError]] = [
    ApiError,
    *(kind for kind in _below(ApiError) if _is_ours(kind)),
]


def make(kind: type[ApiError]) -> ApiError:
    """An error of the class, with made-up arguments if it needs some."""
    arguments: dict[type[ApiError], tuple[object, ...]] = {
        errors.InvalidField: ("name", "must be shorter"),
        errors.MethodNotAllowed: (frozenset({"POST", "GET"}),),
        errors.InsufficientScope: ("account:read",),
        errors.AlreadyRotated: (f"ak_live_{'0' * 22}",),
        errors.AlreadyCreated: (f"ak_live_{'0' * 22}",),
        errors.TooManyFailures: (7,),
        errors.LimitReached: (None,),
        errors.RateLimited: (8,),
        errors.QuotaExceeded: (None,),
        errors.StoreError: ("disk I/O error",),
    }
    return kind(*arguments.get(kind, ()))  # type: ignore[arg-type]


def test_all_errors_are_in_one_hierarchy_and_one_module() -> None:
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, BaseException):
            assert issubclass(kind, LatchkeyError)
    assert len(ALL) == len(set(ALL))


def test_the_table_of_the_specification_is_complete() -> None:
    bases = {
        errors.ApiError,
        errors.AuthenticationError,
        errors.LimitReached,
        errors.PermissionDenied,
    }
    assert TABLE.keys() | bases == set(ALL)


@pytest.mark.parametrize("kind", TABLE)
def test_each_row_of_the_specification(kind: type[ApiError]) -> None:
    error = make(kind)
    assert (
        error.status.value,
        error.type,
        error.code("pair"),
        error.code("bearer"),
    ) == TABLE[kind]


def test_a_client_can_tell_all_errors_apart() -> None:
    seen: dict[tuple[object, ...], type[ApiError]] = {}
    for kind in ALL:
        if kind in SAME_AS:
            continue
        error = make(kind)
        look = (error.status, *(error.code(dialect) for dialect in DIALECTS))
        assert look not in seen, f"{kind.__name__} looks like {seen[look].__name__}"
        seen[look] = kind
    # The pair dialect tells them apart by status and code, except for refusals of a credential.
    # Their code is always UNAUTHORIZED, and the message tells them apart.
    pairs = [
        (kind.status, kind.pair_code)
        for kind in ALL
        if kind not in SAME_AS and not issubclass(kind, errors.AuthenticationError)
    ]
    assert len(pairs) == len(set(pairs))
    refusals = [kind for kind in ALL if issubclass(kind, errors.AuthenticationError)]
    assert len({kind.default_message for kind in refusals}) == len(refusals)


@pytest.mark.parametrize("kind", ALL)
def test_both_spellings(kind: type[ApiError]) -> None:
    error = make(kind)
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", error.code("pair"))
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code("bearer"))
    if kind.bearer_code is None:
        assert error.code("bearer") == error.code("pair").lower()
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*_error", error.type)
    assert error.status >= HTTPStatus.BAD_REQUEST
    assert status_line(error) == f"{error.status.value} {error.status.phrase}"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", ALL)
def test_one_json_form(kind: type[ApiError], dialect: Dialect) -> None:
    error = make(kind)
    body = json.loads(envelope(error, dialect).decode("utf-8"))
    assert body == {
        "error": {"type": error.type, "code": error.code(dialect), "message": error.message}
    }
    assert list(body["error"]) == ["type", "code", "message"]
    assert error.message


def test_the_form_is_utf_8() -> None:
    assert "☃" in envelope(errors.NotFound("no ☃"), "pair").decode("utf-8")


@pytest.mark.parametrize("bearer_presented", [False, True])
@pytest.mark.parametrize("kind", ALL)
def test_the_headers(kind: type[ApiError], bearer_presented: bool) -> None:
    error = make(kind)
    body = envelope(error, "pair")
    pairs = error_headers(error, body, bearer_presented=bearer_presented)
    headers = dict(pairs)
    assert len(headers) == len(pairs)
    assert headers["Content-Type"] == "application/json"
    assert headers["Content-Length"] == str(len(body))
    assert headers["Cache-Control"] == "no-store"
    challenge = headers.get("WWW-Authenticate")
    wanted = {
        400: 'error="invalid_request"',
        401: 'error="invalid_token"',
        403: {
            errors.InsufficientScope: 'error="insufficient_scope", scope="account:read"',
            errors.NeedsInstanceAccount: 'error="insufficient_scope"',
        }.get(kind),
    }.get(error.status.value)
    if not bearer_presented or wanted is None:
        wanted = "" if error.status == HTTPStatus.UNAUTHORIZED else None
    # Base classes are never answered.
    if kind not in (errors.AuthenticationError, errors.PermissionDenied):
        suffix = f", {wanted}" if wanted else ""
        assert challenge == (None if wanted is None else f'Bearer realm="latchkey"{suffix}')
    assert headers.get("Allow") == ("GET, POST" if kind is errors.MethodNotAllowed else None)
    waits = {
        errors.TooManyFailures: "7",
        errors.RateLimited: "8",
        errors.ChangesBusy: "1",
        errors.PasswordsBusy: "1",
        errors.ExportsBusy: "10",
    }
    assert headers.get("Retry-After") == waits.get(kind)


def test_no_scope_is_named_if_none_would_suffice() -> None:
    error = errors.InsufficientScope(None, "A live key cannot create test keys")
    assert error.challenge_parameters() == 'error="insufficient_scope"'
    assert "None" not in error.message


def test_the_detail_of_a_store_error_is_for_the_log_only() -> None:
    error = errors.StoreError("disk I/O error at block 7")
    assert str(error) == error.detail == "disk I/O error at block 7"
    for dialect in DIALECTS:
        assert b"disk" not in envelope(error, dialect)


def test_an_invalid_field_is_named() -> None:
    error = errors.InvalidField("expires_at", "must lie in the future")
    assert error.field == "expires_at"
    assert error.message == "expires_at: must lie in the future"


def test_a_store_error_can_be_copied() -> None:
    """Threads that share a flight each raise their own copy of the error."""
    error = errors.StoreError("disk I/O error")
    twin = copy.copy(error)
    assert twin is not error
    assert type(twin) is errors.StoreError
    assert (str(twin), vars(twin)) == (str(error), vars(error))
