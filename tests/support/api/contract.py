"""The specified table of errors as data, and helpers that check errors."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from latchkey.credentials.derivation import DerivationKey
from latchkey.credentials.models import Mode
from latchkey.credentials.tokens import compose_secret, new_api_key
from tests.support.service import Answer, Pair, Service

Dialect = Literal["pair", "bearer"]
DIALECTS: tuple[Dialect, ...] = ("pair", "bearer")

MAX_BODY = 16 * 1024
JSON_HEADER = ("Content-Type", "application/json")
CHUNKED_HEADER = "Transfer-Encoding: chunked"
REALM = 'Bearer realm="latchkey"'


@dataclass(frozen=True)
class Row:
    """A row of the table. Without ``bearer``, the bearer code is the pair code in lower case."""

    status: int
    type: str
    pair: str
    bearer: str | None = None
    message: str | None = None

    def code(self, dialect: Dialect) -> str:
        if dialect == "pair":
            return self.pair
        return self.bearer or self.pair.lower()

    def check(
        self, answer: Answer, dialect: Dialect, *, bearer: bool = False, scope: str | None = None
    ) -> None:
        """Assert everything that is specified for the response with this error.

        ``bearer``: a bearer credential was presented. ``scope``: the missing scope.
        """
        assert answer.status == self.status, answer
        assert list(answer.json) == ["error"]
        error = answer.json["error"]
        assert sorted(error) == ["code", "message", "type"]
        assert (error["type"], error["code"]) == (self.type, self.code(dialect))
        assert isinstance(error["message"], str)
        assert error["message"]
        if self.message is not None:
            assert error["message"] == self.message
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers.get("www-authenticate") == self.challenge(bearer, scope)

    def challenge(self, bearer: bool, scope: str | None) -> str | None:
        if bearer and self.status == 401:
            return f'{REALM}, error="invalid_token"'
        if bearer and self.status == 400:
            return f'{REALM}, error="invalid_request"'
        if bearer and scope is not None:
            return f'{REALM}, error="insufficient_scope", scope="{scope}"'
        return REALM if self.status == 401 else None


_AUTHENTICATION = "authentication_error"
_REQUEST = "invalid_request_error"

MISSING = Row(401, _AUTHENTICATION, "UNAUTHORIZED", "missing_api_key", "No API key provided")
INVALID = Row(401, _AUTHENTICATION, "UNAUTHORIZED", "invalid_api_key", "Invalid API key provided")
# The same two, with a message about the form of the credential.
MISSING_BY_FORM = Row(401, _AUTHENTICATION, "UNAUTHORIZED", "missing_api_key")
INVALID_BY_FORM = Row(401, _AUTHENTICATION, "UNAUTHORIZED", "invalid_api_key")
REVOKED = Row(401, _AUTHENTICATION, "UNAUTHORIZED", "key_revoked", "API key has been revoked")
EXPIRED = Row(401, _AUTHENTICATION, "UNAUTHORIZED", "key_expired", "API key has expired")
NOT_DERIVED = Row(
    403, "permission_error", "INVALID_CREDENTIAL", message="The secret does not belong to this key"
)
INSUFFICIENT_SCOPE = Row(403, "permission_error", "INSUFFICIENT_SCOPE")
CREDENTIAL_NOT_FOUND = Row(
    404, "not_found_error", "CREDENTIAL_NOT_FOUND", message="No such credential"
)
NOT_FOUND = Row(404, "not_found_error", "NOT_FOUND")
METHOD_NOT_ALLOWED = Row(405, _REQUEST, "METHOD_NOT_ALLOWED")
DUPLICATE = Row(409, "conflict_error", "DUPLICATE_API_KEY", message="Already registered")
INVALID_REQUEST = Row(400, _REQUEST, "INVALID_REQUEST")
INVALID_FIELD = Row(400, _REQUEST, "INVALID_FIELD")
PAYLOAD_TOO_LARGE = Row(413, _REQUEST, "PAYLOAD_TOO_LARGE")
URI_TOO_LONG = Row(414, _REQUEST, "URI_TOO_LONG")
EXPECTATION_FAILED = Row(417, _REQUEST, "EXPECTATION_FAILED")
NOT_IMPLEMENTED = Row(501, _REQUEST, "NOT_IMPLEMENTED")
UNSUPPORTED_MEDIA_TYPE = Row(415, _REQUEST, "UNSUPPORTED_MEDIA_TYPE")
HEADERS_TOO_LARGE = Row(431, _REQUEST, "HEADERS_TOO_LARGE")
TOO_MANY_FAILURES = Row(429, "rate_limit_error", "TOO_MANY_FAILURES")
INTERNAL_ERROR = Row(500, "api_error", "INTERNAL_ERROR")


def present(pair: Pair, dialect: Dialect) -> dict[str, str]:
    """The headers that present a pair in the scheme of a dialect."""
    return pair.bearer if dialect == "bearer" else pair.headers


def forged(pair: Pair) -> Pair:
    """The same key with a secret that is well-formed, including its checksum, but wrong."""
    return Pair(pair.api_key, compose_secret(pair.api_key, os.urandom(32)))


def derived(service: Service, mode: Mode = "live") -> Pair:
    """A pair that the service's derivation key derives, without registering it."""
    text = Path(service.settings["LATCHKEY_DERIVATION_KEYS_FILE"]).read_text()
    api_key = new_api_key(mode)
    return Pair(api_key, DerivationKey(bytes.fromhex(text.strip())).derive(api_key))


def register(service: Service, pair: Pair, **more: object) -> Answer:
    """Send a pair to the registration route."""
    body = {"api_key": pair.api_key, "api_secret": pair.api_secret, **more}
    return service.request("POST", "/credentials", json_body=body)


def revoke(service: Service, by: Pair, api_key: str) -> Answer:
    return service.request("DELETE", f"/credentials/{api_key}", by.headers)


def wire(request: str, *headers: str, body: bytes | str = b"", version: str = "HTTP/1.1") -> bytes:
    """A request as bytes, without additions, corrections or refusals of an HTTP library.

    ``request`` is the method and the target; text is encoded as latin-1.
    """
    head = "\r\n".join([f"{request} {version}", "Host: localhost", *headers, "", ""])
    return head.encode("latin-1") + (body.encode() if isinstance(body, str) else body)


def lines(headers: dict[str, str]) -> list[str]:
    """Headers as lines for ``wire``."""
    return [f"{name}: {value}" for name, value in headers.items()]


def chunked(*chunks: bytes) -> bytes:
    """A body in the chunked transfer coding."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def nested(depth: int) -> bytes:
    """JSON that consists only of nested lists or objects."""
    return b'{"name":' + b"[" * depth + b"]" * depth + b"}"


def create(service: Service, by: Pair, **terms: object) -> Answer:
    """Create a key as a caller; returns the response."""
    return service.request("POST", "/v1/api_keys", by.bearer, json_body={"name": "x", **terms})


def show(service: Service, by: Pair, api_key: str) -> Any:
    """A key, as a caller sees it."""
    answer = service.get(f"/v1/api_keys/{api_key}", by.bearer)
    assert answer.status == 200
    return answer.json


def encode(value: object) -> bytes:
    return json.dumps(value).encode()
