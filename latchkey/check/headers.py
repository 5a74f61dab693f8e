"""Parsing a credential from hostile headers; its validity is decided elsewhere.

The environ is WSGI's (PEP 3333): header values are latin-1 strings, and the server joins repeated
headers with a comma. No part of a credential contains a comma.
"""

from __future__ import annotations

from typing import NamedTuple
from wsgiref.types import WSGIEnvironment

from latchkey.check._headers import has_pair_family
from latchkey.credentials.kinds import DERIVED, Kind, kind_of_bearer
from latchkey.credentials.tokens import has_api_key_shape, has_secret_shape, lookup_key
from latchkey.errors import InvalidCredential, InvalidRequest, MissingCredential
from latchkey.errors.base import Dialect


class Presented(NamedTuple):
    """A credential as presented, not verified: its kind, its lookup key and its secret."""

    kind: Kind
    lookup: str
    secret: str

    def __repr__(self) -> str:
        return f"Presented({self.kind!r}, {self.lookup!r})"


def read_credential(environ: WSGIEnvironment) -> Presented:
    """The one credential that the request presents.

    Raises InvalidRequest for two credentials, MissingCredential for none or half of a pair, and
    InvalidCredential if it is malformed or its halves do not belong together.
    """
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    api_key = environ.get("HTTP_X_API_KEY", "")
    secret = environ.get("HTTP_X_API_SECRET", "")
    if "," in api_key or "," in secret:
        raise InvalidRequest("X-Api-Key and X-Api-Secret may each be sent only once")
    bearer = _bearer_token(authorization) if authorization else ""
    if bearer:
        if api_key or secret:
            raise InvalidRequest(
                "Two credentials: send Authorization: Bearer, or X-Api-Key with X-Api-Secret"
            )
        return read_bearer(bearer)
    if not api_key or not secret:
        raise MissingCredential
    return read_pair(api_key, secret)


def read_pair(api_key: str, secret: str) -> Presented:
    """The credential of a pair; raises InvalidCredential unless its halves belong together."""
    if not has_secret_shape(secret) or not has_api_key_shape(api_key):
        raise InvalidCredential
    presented = read_plain(secret)
    if lookup_key(api_key) != presented.lookup:
        raise InvalidCredential
    return presented


def read_plain(secret: str) -> Presented:
    """A derived secret of the right length, as compiled code reads it and as pairs have it."""
    return Presented(DERIVED, DERIVED.lookup(secret), secret)


def read_bearer(token: str) -> Presented:
    """The credential in a bearer token; raises InvalidCredential if it is of no kind."""
    kind = kind_of_bearer(token)
    if kind is None:
        raise InvalidCredential
    return Presented(kind, kind.lookup(token), token)


def dialect_of(environ: WSGIEnvironment, bearer: bool) -> Dialect:
    """The dialect of this request's errors: by its credential, otherwise by its path.

    ``bearer`` is the result of ``bearer_presented``.
    """
    # Any header of the family, even an empty one, selects the pair dialect.
    if bearer != has_pair_family(environ):
        return "bearer" if bearer else "pair"
    return dialect_of_path(environ.get("PATH_INFO", ""))


def dialect_of_path(path: str) -> Dialect:
    """The dialect of a route: bearer below ``/v1``, pair everywhere else."""
    return "bearer" if path == "/v1" or path.startswith("/v1/") else "pair"


def bearer_presented(environ: WSGIEnvironment) -> bool:
    """Whether an ``Authorization: Bearer`` with a token was sent."""
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    return scheme.lower() == "bearer" and bool(token.strip(" "))


def _bearer_token(authorization: str) -> str:
    """The token of the ``Bearer`` scheme (RFC 6750 section 2.1), "" for any other scheme.

    Raises InvalidRequest if the header was given twice. Other schemes may contain commas, so there
    only a second element with the bearer scheme counts.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer":
        if "," in token:
            raise InvalidRequest("Authorization may be sent only once")
        return token.strip(" ")
    for element in authorization.split(",")[1:]:
        if element.strip(" ").lower().startswith("bearer "):
            raise InvalidRequest("Authorization may be sent only once")
    return ""
