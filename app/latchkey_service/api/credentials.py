"""``/credentials`` and ``/v1/api_keys``: the same credentials at two addresses.

``POST /credentials`` registers pairs that the vendor derived, ``POST /v1/api_keys`` creates pairs.
"""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from flask import Response, request
from flask_openapi3.openapi import OpenAPI

from latchkey import any_credential, current_principal, require_scope
from latchkey.credentials.audit import Actor
from latchkey.credentials.idempotency import Once
from latchkey.credentials.models import Credential
from latchkey.credentials.service import IssuedCredential
from latchkey.credentials.times import utc_now
from latchkey.credentials.tokens import MalformedToken, check_api_key
from latchkey.errors import CredentialNotFound, InvalidField, NotDerived
from latchkey_service.api.callers import calling_key, worker_parts
from latchkey_service.api.cursors import CursorKind, read_cursor, write_cursor
from latchkey_service.api.json_request import JsonRequest, optional_body
from latchkey_service.api.openapi import Resource, answer, describe_open
from latchkey_service.api.schemas import (
    ApiKeyPath,
    CredentialList,
    CredentialQuery,
    OnceHeader,
    Registered,
    Revoked,
)
from latchkey_service.shapes.objects import (
    CredentialObject,
    IssuedObject,
    OwnCredentialObject,
    UsageObject,
)
from latchkey_service.shapes.requests import ChangeBody, IssueBody, RegisterBody, RotateBody

credentials = Resource("credentials")


def add_registration(app: OpenAPI) -> None:
    """Add the registration route, which a setting can disable."""
    describe_open(app, "POST", "/credentials", {201: Registered}, errors=(403, 409, 413, 415, 429))(
        register_credential
    )


def register_credential(body: RegisterBody) -> Response:
    """Register a key pair.

    A secret that was derived from the key proves the authority to register it. The credential gets
    full access and does not expire.
    """
    try:
        check_api_key(body.api_key)
    except MalformedToken as error:
        raise InvalidField("api_key", str(error)) from None
    latchkey = worker_parts()
    try:
        credential = latchkey.credentials.register(
            body.api_key,
            body.api_secret,
            body.name,
            by=Actor.derivation(latchkey.addresses.written(request.environ)),
        )
    except NotDerived:
        latchkey.throttle.count_failure(request.environ)
        raise
    return answer(Registered(api_key=credential.api_key), 201)


@credentials.protected("GET", "/credentials", {200: CredentialList}, errors=(403, 404))
@require_scope("credentials:read")
def list_credentials(query: CredentialQuery) -> Response:
    """List the credentials of the caller's account and mode, newest first.

    With the scope `accounts:read`, those of all accounts.
    """
    return _list(query)


@credentials.protected("DELETE", "/credentials/<api_key>", {200: Revoked}, errors=(403, 404))
@require_scope("credentials:write")
def revoke_credential(path: ApiKeyPath) -> Response:
    """Revoke a credential. It takes effect before the response; a repeated call returns 404."""
    return _revoke(path.api_key)


@credentials.protected(
    "POST", "/v1/api_keys", {201: IssuedObject}, errors=(403, 404, 409, 413, 415, 422)
)
@require_scope("credentials:write")
def issue_api_key(header: OnceHeader, body: IssueBody) -> Response:
    """Create a key pair. The secret is only in this response.

    A repeated request with the same `Idempotency-Key` creates no second key. Its response names the
    first one.
    """
    made = worker_parts().credentials.issue(
        caller=current_principal, by=calling_key(), once=_once(header), **body.terms()
    )
    return _issued(made)


@credentials.protected("GET", "/v1/api_keys", {200: CredentialList}, errors=(403, 404))
@require_scope("credentials:read")
def list_api_keys(query: CredentialQuery) -> Response:
    """List the credentials of the caller's account and mode, newest first.

    With the scope `accounts:read`, those of all accounts.
    """
    return _list(query)


@credentials.protected("GET", "/v1/api_keys/self", {200: OwnCredentialObject}, errors=(403,))
@any_credential
def show_own_api_key() -> Response:
    """Show the presented key, with what remains of its limits."""
    latchkey = worker_parts()
    own = latchkey.credentials.get(current_principal.api_key, current_principal)
    levels = latchkey.begin().levels.levels_of(own, own.mode)
    last_used_at = latchkey.usage.last_used_at(own)
    return answer(
        OwnCredentialObject.with_levels(own, levels, last_used_at, utc_now(), _rotation_age())
    )


@credentials.protected(
    "GET", "/v1/api_keys/<not_self:api_key>", {200: CredentialObject}, errors=(403, 404)
)
@require_scope("credentials:read")
def show_api_key(path: ApiKeyPath) -> Response:
    """Show one credential of the caller's account and mode."""
    credential = worker_parts().credentials.get(_well_formed(path.api_key), current_principal)
    return answer(_object(credential))


@credentials.protected(
    "PATCH",
    "/v1/api_keys/<not_self:api_key>",
    {200: CredentialObject},
    errors=(403, 404, 413, 415),
)
@require_scope("credentials:write")
def change_api_key(path: ApiKeyPath, body: ChangeBody) -> Response:
    """Change the name, scopes or expiry of a credential. Takes effect before the response."""
    terms = body.change()
    changed = worker_parts().credentials.change(
        _well_formed(path.api_key), terms, current_principal, by=calling_key()
    )
    return answer(_object(changed))


@credentials.protected(
    "POST",
    "/v1/api_keys/<api_key>/rotate",
    {201: IssuedObject},
    errors=(403, 404, 409, 413, 415, 422),
)
@require_scope("credentials:write")
@optional_body
def rotate_api_key(path: ApiKeyPath, header: OnceHeader, body: RotateBody) -> Response:
    """Replace a credential by a successor with the same terms and a new secret.

    The new secret is only in this response. Both keys work until the overlap ends. A repeated
    request with the same `Idempotency-Key` creates no second successor.
    """
    made = worker_parts().credentials.rotate(
        _well_formed(path.api_key),
        current_principal,
        body.overlap,
        by=calling_key(),
        once=_once(header),
    )
    return _issued(made)


@credentials.protected("GET", "/v1/api_keys/<api_key>/usage", {200: UsageObject}, errors=(403, 404))
@require_scope("credentials:read")
def show_usage(path: ApiKeyPath) -> Response:
    """Show the usage of a credential, up to the last request."""
    latchkey = worker_parts()
    credential = latchkey.credentials.get(_well_formed(path.api_key), current_principal)
    usage = latchkey.usage.usage(credential)
    levels = latchkey.begin().levels.levels_of(credential, credential.mode)
    return answer(UsageObject.of(credential.api_key, usage, levels, utc_now()))


@credentials.protected(
    "DELETE", "/v1/api_keys/<not_self:api_key>", {200: Revoked}, errors=(403, 404)
)
@require_scope("credentials:write", or_own="api_key")
def revoke_api_key(path: ApiKeyPath) -> Response:
    """Revoke a credential. It takes effect before the response. A key can always revoke itself."""
    return _revoke(path.api_key)


def _once(header: OnceHeader) -> Once | None:
    """This request, if it has to create at most one key."""
    if header.idempotency_key is None:
        return None
    body = cast(JsonRequest, request).raw_body
    return Once.request(header.idempotency_key, request.method, request.path, body)


def _rotation_age() -> timedelta:
    return timedelta(days=worker_parts().settings.rotation_days)


def _object(credential: Credential) -> CredentialObject:
    last_used_at = worker_parts().usage.last_used_at(credential)
    return CredentialObject.of(credential, last_used_at, utc_now(), _rotation_age())


def _issued(issued: IssuedCredential) -> Response:
    return answer(
        IssuedObject.with_secret(issued.credential, issued.secret, utc_now(), _rotation_age()), 201
    )


def _list(query: CredentialQuery) -> Response:
    page = worker_parts().credentials.page(
        current_principal,
        query.limit,
        read_cursor(CursorKind.CREDENTIALS, query.cursor),
        account=query.account,
    )
    return answer(
        CredentialList(
            credentials=[_object(row) for row in page.credentials],
            next_cursor=write_cursor(CursorKind.CREDENTIALS, page.next_before),
        )
    )


def _revoke(api_key: str) -> Response:
    worker_parts().credentials.revoke(_well_formed(api_key), current_principal, by=calling_key())
    return answer(Revoked(api_key=api_key))


def _well_formed(api_key: str) -> str:
    """Return the key. A malformed key is answered like an unknown one."""
    try:
        return check_api_key(api_key)
    except MalformedToken:
        raise CredentialNotFound from None
