"""``/credentials`` and ``/v1/api_keys``: the same credentials at two addresses.

``POST /credentials`` registers pairs that the vendor derived, ``POST /v1/api_keys`` creates pairs.
"""

from __future__ import annotations

import base64
import binascii
from datetime import timedelta

from flask import Response, current_app, request
from flask_openapi3.openapi import OpenAPI

from latchkey import current_principal, require_scope
from latchkey.assembly import Latchkey
from latchkey.check.request_conditions import facts_of
from latchkey.credentials.audit import Actor
from latchkey.credentials.models import Credential
from latchkey.credentials.service import IssuedCredential
from latchkey.credentials.times import utc_now
from latchkey.credentials.tokens import MalformedToken, check_api_key
from latchkey.errors import CredentialNotFound, InvalidField, NotDerived
from latchkey_service.api.json_request import optional_body
from latchkey_service.api.openapi import Resource, answer, describe_open
from latchkey_service.api.schemas import ApiKeyPath, CredentialList, PageQuery, Registered, Revoked
from latchkey_service.shapes.objects import CredentialObject, IssuedObject, UsageObject
from latchkey_service.shapes.requests import ChangeBody, IssueBody, RegisterBody, RotateBody

credentials = Resource("credentials")

_CURSOR_LENGTH = 8


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
    latchkey = _latchkey()
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


@credentials.protected("GET", "/credentials", {200: CredentialList}, errors=(403,))
@require_scope("credentials:read")
def list_credentials(query: PageQuery) -> Response:
    """List the credentials of the caller's mode, newest first."""
    return _list(query)


@credentials.protected("DELETE", "/credentials/<api_key>", {200: Revoked}, errors=(403, 404))
@require_scope("credentials:write")
def revoke_credential(path: ApiKeyPath) -> Response:
    """Revoke a credential. It takes effect before the response; a repeated call returns 404."""
    return _revoke(path.api_key)


@credentials.protected("POST", "/v1/api_keys", {201: IssuedObject}, errors=(403, 413, 415))
@require_scope("credentials:write")
def issue_api_key(body: IssueBody) -> Response:
    """Create a key pair. The secret is only in this response."""
    return _issued(
        _latchkey().credentials.issue(caller=current_principal, by=_actor(), **body.terms())
    )


@credentials.protected("GET", "/v1/api_keys", {200: CredentialList}, errors=(403,))
@require_scope("credentials:read")
def list_api_keys(query: PageQuery) -> Response:
    """List the credentials of the caller's mode, newest first."""
    return _list(query)


@credentials.protected("GET", "/v1/api_keys/<api_key>", {200: CredentialObject}, errors=(403, 404))
@require_scope("credentials:read")
def show_api_key(path: ApiKeyPath) -> Response:
    """Show one credential of the caller's mode."""
    credential = _latchkey().credentials.get(_well_formed(path.api_key), current_principal)
    return answer(_object(credential))


@credentials.protected(
    "PATCH", "/v1/api_keys/<api_key>", {200: CredentialObject}, errors=(403, 404, 413, 415)
)
@require_scope("credentials:write")
def change_api_key(path: ApiKeyPath, body: ChangeBody) -> Response:
    """Change the name, scopes or expiry of a credential. Takes effect before the response."""
    terms = body.change()
    changed = _latchkey().credentials.change(
        _well_formed(path.api_key), terms, current_principal, by=_actor()
    )
    return answer(_object(changed))


@credentials.protected(
    "POST",
    "/v1/api_keys/<api_key>/rotate",
    {201: IssuedObject},
    errors=(403, 404, 409, 413, 415),
)
@require_scope("credentials:write")
@optional_body
def rotate_api_key(path: ApiKeyPath, body: RotateBody) -> Response:
    """Replace a credential by a successor with the same terms and a new secret.

    The new secret is only in this response. Both keys work until the overlap ends.
    """
    api_key = _well_formed(path.api_key)
    return _issued(
        _latchkey().credentials.rotate(api_key, current_principal, body.overlap, by=_actor())
    )


@credentials.protected("GET", "/v1/api_keys/<api_key>/usage", {200: UsageObject}, errors=(403, 404))
@require_scope("credentials:read")
def show_usage(path: ApiKeyPath) -> Response:
    """Show the usage of a credential, up to the last request."""
    latchkey = _latchkey()
    credential = latchkey.credentials.get(_well_formed(path.api_key), current_principal)
    usage = latchkey.usage.usage(credential)
    return answer(UsageObject.of(credential.api_key, usage, utc_now()))


@credentials.protected("DELETE", "/v1/api_keys/<api_key>", {200: Revoked}, errors=(403, 404))
@require_scope("credentials:write", or_own="api_key")
def revoke_api_key(path: ApiKeyPath) -> Response:
    """Revoke a credential. It takes effect before the response. A key can always revoke itself."""
    return _revoke(path.api_key)


def _latchkey() -> Latchkey:
    latchkey: Latchkey = current_app.extensions["latchkey"]
    return latchkey


def _actor() -> Actor:
    """The caller of this request, as an actor in the audit log."""
    latchkey = _latchkey()
    return Actor.key(
        current_principal.api_key,
        latchkey.addresses.written(request.environ),
        facts_of(request.environ, latchkey.addresses),
    )


def _rotation_age() -> timedelta:
    return timedelta(days=_latchkey().settings.rotation_days)


def _object(credential: Credential) -> CredentialObject:
    last_used_at = _latchkey().usage.last_used_at(credential)
    return CredentialObject.of(credential, last_used_at, utc_now(), _rotation_age())


def _issued(issued: IssuedCredential) -> Response:
    return answer(
        IssuedObject.with_secret(issued.credential, issued.secret, utc_now(), _rotation_age()), 201
    )


def _list(query: PageQuery) -> Response:
    before = None if query.cursor is None else _read_cursor(query.cursor)
    page = _latchkey().credentials.page(current_principal, query.limit, before)
    return answer(
        CredentialList(
            credentials=[_object(row) for row in page.credentials],
            next_cursor=None if page.next_before is None else _write_cursor(page.next_before),
        )
    )


def _revoke(api_key: str) -> Response:
    _latchkey().credentials.revoke(_well_formed(api_key), current_principal, by=_actor())
    return answer(Revoked(api_key=api_key))


def _well_formed(api_key: str) -> str:
    """Return the key. A malformed key is answered like an unknown one."""
    try:
        return check_api_key(api_key)
    except MalformedToken:
        raise CredentialNotFound from None


def _write_cursor(before: int) -> str:
    return base64.urlsafe_b64encode(before.to_bytes(_CURSOR_LENGTH)).decode().rstrip("=")


def _read_cursor(cursor: str) -> int:
    try:
        raw = base64.b64decode(cursor + "=", altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != _CURSOR_LENGTH or raw[0] > 0x7F:
        raise InvalidField("cursor", "must be the next_cursor of the previous page")
    return int.from_bytes(raw)
