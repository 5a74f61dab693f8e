"""Credentials presented almost correctly: the same refusal, with a message about the mistake."""

from __future__ import annotations

import base64
import json
import re

import pytest

from latchkey.check.mistakes import explain
from tests.support.api.contract import (
    INVALID,
    INVALID_BY_FORM,
    MISSING,
    MISSING_BY_FORM,
    Dialect,
    Row,
    derived,
    forged,
    wire,
)
from tests.support.service import Pair, Service

# The headers, for a key K and its secret S; the expected error; and a part of its message.
ALMOST = [
    (("Authorization: S",), MISSING_BY_FORM, "lacks its scheme"),
    (("Authorization: K",), MISSING_BY_FORM, "lacks its scheme"),
    (("Authorization: K:S",), MISSING_BY_FORM, "lacks its scheme"),
    (("Authorization: secret=S",), MISSING_BY_FORM, "lacks its scheme"),
    (('Authorization: "S"',), MISSING_BY_FORM, "quotation marks"),
    (('Authorization: "Bearer S"',), MISSING_BY_FORM, "quotation marks"),
    (("Authorization: Bearer",), MISSING_BY_FORM, "Nothing follows Bearer"),
    (("Authorization: bearer  ",), MISSING_BY_FORM, "Nothing follows Bearer"),
    (("Authorization: Bearer: S",), MISSING_BY_FORM, "other than a space"),
    (("Authorization: Bearer=S",), MISSING_BY_FORM, "other than a space"),
    (("Authorization: Bearer\tS",), MISSING_BY_FORM, "other than a space"),
    (("Authorization: BearerS",), MISSING_BY_FORM, "other than a space"),
    (("Authorization: Basic S",), MISSING_BY_FORM, "scheme other than Bearer"),
    (("Authorization: Basic (S:)",), MISSING_BY_FORM, "scheme other than Bearer"),
    (("Authorization: Basic (K:S)",), MISSING_BY_FORM, "scheme other than Bearer"),
    (("Authorization: Token S",), MISSING_BY_FORM, "scheme other than Bearer"),
    (("Authorization: ApiKey K:S",), MISSING_BY_FORM, "scheme other than Bearer"),
    (('Authorization: Token token="S"',), MISSING_BY_FORM, "scheme other than Bearer"),
    (("Authorization: Bearer K",), INVALID_BY_FORM, "not the API key"),
    (('Authorization: Bearer "S"',), INVALID_BY_FORM, "quotation marks"),
    (("Authorization: Bearer 'S'",), INVALID_BY_FORM, "quotation marks"),
    (("Authorization: Bearer <S>",), INVALID_BY_FORM, "brackets"),
    (("Authorization: Bearer {S}",), INVALID_BY_FORM, "brackets"),
    (('Authorization: Bearer S"',), INVALID_BY_FORM, "quotation marks"),
    (("Authorization: Bearer Bearer S",), INVALID_BY_FORM, "nothing before it"),
    (("Authorization: Bearer K:S",), INVALID_BY_FORM, "nothing before it"),
    (("Authorization: Bearer K S",), INVALID_BY_FORM, "nothing before it"),
    (("Authorization: Bearer secret=S",), INVALID_BY_FORM, "nothing before it"),
    (("X-Api-Key: S",), MISSING_BY_FORM, "X-Api-Key holds a secret"),
    (("X-Api-Key: Bearer S",), MISSING_BY_FORM, "X-Api-Key holds a secret"),
    (("X-Api-Secret: K",), MISSING_BY_FORM, "X-Api-Secret holds an API key"),
    (("X-Api-Key: S", "X-Api-Secret: K"), INVALID_BY_FORM, "are swapped"),
    (("X-Api-Key: S", "X-Api-Secret: S"), INVALID_BY_FORM, "X-Api-Key holds a secret"),
    (("X-Api-Key: K", "X-Api-Secret: K"), INVALID_BY_FORM, "X-Api-Secret holds an API key"),
    (('X-Api-Key: "K"', 'X-Api-Secret: "S"'), INVALID_BY_FORM, "quotation marks"),
    (("X-Api-Key: K", "X-Api-Secret: 'S'"), INVALID_BY_FORM, "quotation marks"),
    (("X-Api-Key: K", "X-Api-Secret: Bearer S"), INVALID_BY_FORM, "each alone"),
    (("X-Api-Key: key=K", "X-Api-Secret: S"), INVALID_BY_FORM, "each alone"),
    (("X-Api-Key: S", "Authorization: Basic x"), MISSING_BY_FORM, "X-Api-Key holds a secret"),
]
# Requests without such a mistake: the message does not mention the form.
PLAIN = [
    ((), MISSING),
    (("Authorization: Basic dXNlcjpwYXNz",), MISSING),
    (("Authorization: Basic %%%",), MISSING),
    (("Authorization: Bearerx y",), MISSING),
    (("Authorization: x",), MISSING),
    (("X-Api-Key: K",), MISSING),
    (("X-Api-Secret: S",), MISSING),
    (("X-Api-Key: x",), MISSING),
    (("Authorization: Bearer x",), INVALID),
    (("Authorization: Bearer opaque-token",), INVALID),
    (("Authorization: Bearer S",), INVALID),
    (("Authorization: Bearer S0",), INVALID),
    (("X-Api-Key: K", "X-Api-Secret: S"), INVALID),
    (("X-Api-Key: x", "X-Api-Secret: y"), INVALID),
]


def written(headers: tuple[str, ...], pair: Pair) -> list[str]:
    """The header lines with a pair inserted; text in round brackets is encoded as for Basic."""
    put = {"K": pair.api_key, "S": pair.api_secret}
    lines = []
    for header in headers:
        name, _, value = header.partition(": ")
        # No letter stands behind a placeholder.
        value = re.sub(r"[KS](?![A-Za-z])", lambda found: put[found[0]], value)
        value = re.sub(
            r"\((.*)\)", lambda found: base64.b64encode(found[1].encode()).decode(), value
        )
        lines.append(f"{name}: {value}")
    return lines


@pytest.fixture(scope="module", params=["a live key", "a wrong secret of it", "an unknown key"])
def pair(request: pytest.FixtureRequest, service: Service, live: Pair) -> Pair:
    """A pair whose refusals must not differ."""
    if request.param == "a live key":
        return live
    return forged(live) if request.param == "a wrong secret of it" else derived(service)


@pytest.mark.parametrize(("headers", "row", "words"), ALMOST)
def test_the_message_says_what_is_wrong(
    service: Service, pair: Pair, headers: tuple[str, ...], row: Row, words: str
) -> None:
    sent = written(headers, pair)
    bearer = row is INVALID_BY_FORM and headers[0].startswith("Authorization")
    for path, by_path in (("/v1/account", "bearer"), ("/credentials", "pair")):
        dialect: Dialect = by_path  # type: ignore[assignment]
        if bearer:
            dialect = "bearer"
        elif any(line.startswith("X-Api-") for line in headers):
            dialect = "pair"
        answer = service.send_raw(wire(f"GET {path}", *sent))
        row.check(answer, dialect, bearer=bearer)
        assert words in answer.json["error"]["message"]
        for secret in (pair.api_secret[8:], pair.api_key[8:]):
            assert secret[:6].encode() not in answer.body
        head = service.send_raw(wire(f"HEAD {path}", *sent))
        assert head.status == 401


@pytest.mark.parametrize(("headers", "row"), PLAIN)
def test_other_refusals_have_the_standard_message(
    service: Service, live: Pair, headers: tuple[str, ...], row: Row
) -> None:
    for wrong in (forged(live), derived(service)):
        answer = service.send_raw(wire("GET /v1/account", *written(headers, wrong)))
        assert answer.status == 401
        assert answer.json["error"]["message"] == row.message


def test_no_header_causes_an_internal_error() -> None:
    for text in ("", " ", "\x00", "\xff" * 8_000, "sk_live_" * 2_000, "Basic " + "=" * 8_000):
        for name in ("HTTP_AUTHORIZATION", "HTTP_X_API_KEY", "HTTP_X_API_SECRET"):
            explain({name: text})
        told = explain({"HTTP_X_API_KEY": text, "HTTP_X_API_SECRET": text})
        assert told is None or "sk_live" not in json.dumps(told)
