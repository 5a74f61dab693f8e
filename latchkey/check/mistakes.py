"""Explanations for refused requests whose credential has almost the right form.

Called only when a request is refused. The answer depends only on the form of the headers, not on
whether a key exists. It never repeats a value.
"""

from __future__ import annotations

import base64
import binascii
import re
from wsgiref.types import WSGIEnvironment

_SECRET = re.compile(r"sk_(?:live|test)_[0-9A-Za-z]", re.ASCII)
_KEY = re.compile(r"ak_(?:live|test)_[0-9A-Za-z]", re.ASCII)
_ENCLOSING = "\"'`<([{"
_END_OF_ENCLOSED = "\"'`>)]}"

_SEND_BEARER = "send Authorization: Bearer, one space, and the secret (sk_…)"
_NO_SCHEME = f"Authorization lacks its scheme: {_SEND_BEARER}"
_NO_TOKEN = f"Nothing follows Bearer: {_SEND_BEARER}"
_NO_SPACE = f"Bearer is followed by something other than a space: {_SEND_BEARER}"
_OTHER_SCHEME = f"The secret was sent with a scheme other than Bearer: {_SEND_BEARER}"
_KEY_AS_BEARER = "An API key (ak_…) follows Bearer: send the secret (sk_…), not the API key"
_MORE_THAN_SECRET = "Send the secret (sk_…) directly after Bearer, with nothing before it"  # noqa: S105
_BY_PAIR = "send the API key (ak_…) in X-Api-Key, and the secret (sk_…) in X-Api-Secret"
_SWAPPED = f"X-Api-Key and X-Api-Secret are swapped: {_BY_PAIR}"
_SECRET_AS_KEY = (
    f"X-Api-Key holds a secret: {_BY_PAIR}. To present the secret alone, {_SEND_BEARER}"
)
_KEY_AS_SECRET = f"X-Api-Secret holds an API key: {_BY_PAIR}"
_ENCLOSED = "The credential is enclosed in quotation marks or brackets: send it without them"
_ALONE = f"There is something before the credential: {_BY_PAIR}, each alone"


def explain(environ: WSGIEnvironment) -> str | None:
    """Describe the formal mistake in a refused request's credential; None if there is none."""
    api_key: str = environ.get("HTTP_X_API_KEY", "")
    secret: str = environ.get("HTTP_X_API_SECRET", "")
    if api_key and secret:
        return _about_pair(api_key, secret)
    authorization: str = environ.get("HTTP_AUTHORIZATION", "")
    if authorization:
        told = _about_authorization(authorization)
        if told is not None:
            return told
    if _SECRET.search(api_key):
        return _SECRET_AS_KEY
    return _KEY_AS_SECRET if _KEY.search(secret) else None


def _about_authorization(authorization: str) -> str | None:
    scheme, space, token = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return _about_bearer(token.strip(" "))
    if scheme.lower().startswith("bearer") and (_SECRET.search(authorization)):
        return _NO_SPACE
    if not space and (_SECRET.match(scheme) or _KEY.match(scheme)):
        return _NO_SCHEME
    if scheme[:1] in _ENCLOSING and _SECRET.search(authorization):
        return _ENCLOSED
    if _SECRET.search(authorization) or _SECRET.search(_decoded(scheme, token)):
        return _OTHER_SCHEME if space else _NO_SCHEME
    return None


def _about_bearer(token: str) -> str | None:
    if not token:
        return _NO_TOKEN
    if token.startswith("sk_"):
        return _ENCLOSED if token[-1] in _END_OF_ENCLOSED else None
    holds_secret = _SECRET.search(token)
    if _KEY.match(token):
        return _MORE_THAN_SECRET if holds_secret else _KEY_AS_BEARER
    if token[0] in _ENCLOSING and (holds_secret or _KEY.search(token)):
        return _ENCLOSED
    return _MORE_THAN_SECRET if holds_secret else None


def _about_pair(api_key: str, secret: str) -> str | None:
    if api_key.startswith("ak_") and secret.startswith("sk_"):
        return None
    if api_key[0] in _ENCLOSING or secret[0] in _ENCLOSING:
        held = f"{api_key} {secret}"
        return _ENCLOSED if _SECRET.search(held) or _KEY.search(held) else None
    secret_as_key, key_as_secret = _SECRET.match(api_key), _KEY.match(secret)
    if secret_as_key and key_as_secret:
        return _SWAPPED
    if secret_as_key:
        return _SECRET_AS_KEY
    if key_as_secret:
        return _KEY_AS_SECRET
    return _ALONE if _KEY.search(api_key) and _SECRET.search(secret) else None


def _decoded(scheme: str, token: str) -> str:
    """The decoded value of the Basic scheme, as sent by ``curl -u``."""
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(token.strip(" "), validate=True).decode("latin-1")
    except (binascii.Error, ValueError):
        return ""
