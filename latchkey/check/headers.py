"""Reading a credential out of hostile headers; nothing here decides whether it is good.

The environ is WSGI's (PEP 3333): header values are latin-1 strings, and a header that came twice
has been joined with a comma by the server. No part of a credential contains a comma.
"""

from __future__ import annotations

from typing import NamedTuple
from wsgiref.types import WSGIEnvironment

from latchkey.check._headers import has_pair_family
from latchkey.credentials.tokens import (
    foreign_lookup_key,
    has_api_key_shape,
    has_secret_shape,
    is_foreign_token,
    lookup_key,
)
from latchkey.errors import Dialect, InvalidCredential, InvalidRequest, MissingCredential


class Presented(NamedTuple):
    """A credential as presented: well-shaped, so that ``lookup`` names an id; not verified.

    Of a bearer token that is none of ours, ``lookup`` is its SHA-256 in hex.
    """

    lookup: str
    secret: str

    def __repr__(self) -> str:
        return f"Presented({self.lookup!r})"


def read_credential(environ: WSGIEnvironment) -> Presented:
    """The one credential that the request presents.

    Raises InvalidRequest for two of them, MissingCredential for none or half of a pair, and
    InvalidCredential for one that is malformed or whose halves do not belong together.
    """
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    api_key = environ.get("HTTP_X_API_KEY", "")
    secret = environ.get("HTTP_X_API_SECRET", "")
    if "," in api_key or "," in secret:
        raise InvalidRequest("X-Api-Key and X-Api-Secret may be given once each")
    bearer = _bearer_token(authorization) if authorization else ""
    if bearer:
        if api_key or secret:
            raise InvalidRequest(
                "Two credentials: send Authorization: Bearer, or X-Api-Key with X-Api-Secret"
            )
        return read_bearer(bearer)
    if not api_key or not secret:
        raise MissingCredential
    if not has_secret_shape(secret) or not has_api_key_shape(api_key):
        raise InvalidCredential
    lookup = lookup_key(secret)
    if lookup_key(api_key) != lookup:
        raise InvalidCredential
    return Presented(lookup, secret)


def read_bearer(token: str) -> Presented:
    """What a bearer token may be: a secret of ours, or one that was imported, by its hash.

    Raises InvalidCredential for what is neither.
    """
    if is_foreign_token(token):
        return Presented(foreign_lookup_key(token), token)
    if not has_secret_shape(token):
        raise InvalidCredential
    return Presented(lookup_key(token), token)


def dialect_of(environ: WSGIEnvironment, bearer: bool) -> Dialect:
    """How this request's errors are spelled: by what it presents, else by its path.

    ``bearer`` is what ``bearer_presented`` says of it.
    """
    # Any header of the family, also an empty one: who sends it speaks the pair dialect.
    if bearer != has_pair_family(environ):
        return "bearer" if bearer else "pair"
    return dialect_of_path(environ.get("PATH_INFO", ""))


def dialect_of_path(path: str) -> Dialect:
    """The dialect of a route: bearer below ``/v1``, pair everywhere else."""
    return "bearer" if path == "/v1" or path.startswith("/v1/") else "pair"


def bearer_presented(environ: WSGIEnvironment) -> bool:
    """Whether an ``Authorization: Bearer`` with something behind it was sent."""
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    return scheme.lower() == "bearer" and bool(token.strip(" "))


def _bearer_token(authorization: str) -> str:
    """What follows the ``Bearer`` scheme (RFC 6750 section 2.1), "" for any other scheme.

    Raises InvalidRequest where the header was given twice. Another scheme may have commas of its
    own, so there only a second element that is a bearer counts.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer":
        if "," in token:
            raise InvalidRequest("Authorization may be given once")
        return token.strip(" ")
    for element in authorization.split(",")[1:]:
        if element.strip(" ").lower().startswith("bearer "):
            raise InvalidRequest("Authorization may be given once")
    return ""
