"""Parsing credentials from hostile headers in any form; only Latchkey's errors are raised."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latchkey.check.headers import (
    Presented,
    bearer_presented,
    dialect_of,
    dialect_of_path,
    read_credential,
)
from latchkey.credentials.kinds import DERIVED, IMPORTED
from latchkey.errors import (
    ApiError,
    InvalidCredential,
    InvalidRequest,
    MissingCredential,
)
from tests.support.credentials import reference

KEY = reference.make_api_key("live", 2**100)
SECRET = reference.make_secret(KEY, bytes(range(32)))
OTHER_KEY = reference.make_api_key("live", 2**100 + 1)
TEST_KEY = KEY.replace("live", "test")
GOOD = Presented(DERIVED, KEY[3:], SECRET)


def environ(
    authorization: str | None = None,
    api_key: str | None = None,
    api_secret: str | None = None,
    path: str = "/",
) -> dict[str, str]:
    headers = {
        "HTTP_AUTHORIZATION": authorization,
        "HTTP_X_API_KEY": api_key,
        "HTTP_X_API_SECRET": api_secret,
    }
    return {"PATH_INFO": path, **{k: v for k, v in headers.items() if v is not None}}


def spelled(headers: dict[str, str]) -> str:
    """The dialect of a refusal."""
    return dialect_of(headers, bearer_presented(headers))


def outcome(headers: dict[str, str]) -> Presented | type[ApiError]:
    try:
        return read_credential(headers)
    except ApiError as error:
        return type(error)


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {SECRET}",
        f"bearer {SECRET}",
        f"BEARER {SECRET}",
        f"bEaReR {SECRET}",
        f"Bearer   {SECRET}",
        f"Bearer {SECRET}  ",
    ],
)
def test_bearer(authorization: str) -> None:
    assert outcome(environ(authorization)) == GOOD


def test_pair() -> None:
    assert outcome(environ(api_key=KEY, api_secret=SECRET)) == GOOD


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "Bearer    ",
        "Basic dXNlcjpwYXNz",
        f"Basic {SECRET}",
        f"Token {SECRET}",
        f"Bearertoken {SECRET}",
        f"Bearer\t{SECRET}",
        f"{SECRET}",
        'Digest username="x", realm="y", nonce="bearer"',
        'Digest username="x", bearerish="y"',
        ",",
        "Negotiate",
    ],
)
def test_other_schemes_and_an_empty_bearer_present_no_credential(authorization: str) -> None:
    assert outcome(environ(authorization)) is MissingCredential
    # They do not prevent the use of a pair.
    assert outcome(environ(authorization, KEY, SECRET)) == GOOD


@pytest.mark.parametrize(
    ("api_key", "api_secret"),
    [(None, None), (KEY, None), (None, SECRET), ("", ""), (KEY, ""), ("", SECRET), ("x", None)],
)
def test_no_credential_and_half_a_pair(api_key: str | None, api_secret: str | None) -> None:
    assert outcome(environ(None, api_key, api_secret)) is MissingCredential


@pytest.mark.parametrize(
    ("api_key", "api_secret"),
    [
        (OTHER_KEY, SECRET),
        (TEST_KEY, SECRET),
        (SECRET, KEY),
        (SECRET, SECRET),
        (KEY, KEY),
        (KEY, SECRET[:-1]),
        (KEY[:-1], SECRET),
        (KEY + "0", SECRET),
        (KEY.upper(), SECRET),
        (KEY, SECRET.swapcase()),
        (f" {KEY}", SECRET),
        (KEY, f"{SECRET}\n"),
        (KEY, SECRET[:-1] + "é"),
        (KEY[:-1] + "²", SECRET),
        ("x", "y"),
    ],
)
def test_a_pair_that_is_malformed_or_does_not_belong_together(
    api_key: str, api_secret: str
) -> None:
    assert outcome(environ(None, api_key, api_secret)) is InvalidCredential


WRONG_CHECKSUM = SECRET[:-1] + ("0" if SECRET[-1] != "0" else "1")


@pytest.mark.parametrize(
    "token",
    [
        *(KEY, SECRET[:-1], SECRET + "0", SECRET.upper(), WRONG_CHECKSUM),
        *("x", "~!", "a=b;c", "y" * 512),
    ],
)
def test_a_foreign_bearer_token_may_be_imported(token: str) -> None:
    """It is looked up by its SHA-256, as it was imported."""
    known = Presented(IMPORTED, hashlib.sha256(token.encode()).hexdigest(), token)
    assert outcome(environ(f"Bearer {token}")) == known
    assert token not in repr(known)


@pytest.mark.parametrize(
    "token", [SECRET[:-1] + "é", f"{SECRET} x", "x y", "x\ty", "x\x7f", "é", "y" * 513]
)
def test_an_impossible_bearer_token(token: str) -> None:
    assert outcome(environ(f"Bearer {token}")) is InvalidCredential


@pytest.mark.parametrize(
    "headers",
    [
        environ(f"Bearer {SECRET}", KEY, SECRET),
        environ(f"Bearer {SECRET}", KEY),
        environ(f"Bearer {SECRET}", None, SECRET),
        environ("Bearer x", "x"),
    ],
)
def test_two_schemes_in_one_request(headers: dict[str, str]) -> None:
    assert outcome(headers) is InvalidRequest


@pytest.mark.parametrize(
    "headers",
    [
        environ(f"Bearer {SECRET},Bearer {SECRET}"),
        environ(f"Bearer {SECRET}, Bearer {SECRET}"),
        environ(f"Bearer {SECRET},"),
        environ(f"Bearer ,Bearer {SECRET}"),
        environ(f"Bearer,Bearer {SECRET}"),
        environ(f"Bearer {SECRET}, Basic dXNlcjpwYXNz"),
        environ(f"Basic dXNlcjpwYXNz, Bearer {SECRET}"),
        environ(f"Basic dXNlcjpwYXNz,bearer {SECRET}"),
        environ(None, f"{KEY},{KEY}", SECRET),
        environ(None, f"{KEY}, {KEY}", SECRET),
        environ(None, KEY, f"{SECRET},{SECRET}"),
        environ(None, f"{KEY},", SECRET),
        environ(None, ","),
        environ(None, None, f"{SECRET},x"),
    ],
)
def test_a_credential_header_given_twice(headers: dict[str, str]) -> None:
    """Servers join repeated headers with a comma, which no part of a credential contains."""
    assert outcome(headers) is InvalidRequest


def test_repr_of_what_was_presented_shows_no_secret() -> None:
    presented = read_credential(environ(f"Bearer {SECRET}"))
    for shown in (repr(presented), str(presented), f"{presented}", repr([presented])):
        assert SECRET not in shown
        assert SECRET[30:] not in shown


PIECE = st.one_of(
    st.sampled_from(
        [
            "Bearer ",
            "bearer",
            " ",
            ",",
            KEY,
            SECRET,
            OTHER_KEY,
            "Basic ",
            "\t",
            "\0",
            "é",
            "sk_live_",
        ]
    ),
    st.text(st.characters(max_codepoint=255), max_size=8),
)
HEADER = st.one_of(st.none(), st.lists(PIECE, max_size=6).map("".join))
PATH = st.one_of(st.sampled_from(["/", "/v1", "/v1/account", "/v11"]), st.text(max_size=20))


@given(HEADER, HEADER, HEADER, PATH)
@example(f"Bearer {SECRET}", None, None, "/")
@example("Bearer Bearer ", None, None, "/")
@example(None, KEY, SECRET, "/")
def test_only_errors_of_latchkey_are_raised(
    authorization: str | None, api_key: str | None, api_secret: str | None, path: str
) -> None:
    headers = environ(authorization, api_key, api_secret, path)
    dialect = spelled(headers)
    assert dialect in ("pair", "bearer")
    try:
        presented = read_credential(headers)
    except (MissingCredential, InvalidCredential, InvalidRequest) as refusal:
        message = refusal.message
    else:
        # A presented credential is well-formed, and was sent exactly once.
        if presented.kind is IMPORTED:
            assert presented.lookup == hashlib.sha256(presented.secret.encode()).hexdigest()
        else:
            assert len(presented.secret) == 79
            assert presented.lookup == presented.secret[3:30]
        if bearer_presented(headers):
            assert authorization is not None
            assert authorization[len("Bearer ") :].strip(" ") == presented.secret
            assert not api_key
            assert not api_secret
        else:
            assert api_key == f"ak_{presented.lookup}"
            assert api_secret == presented.secret
            assert dialect == "pair"
        return
    # An error never repeats a sent value.
    for value in filter(None, (authorization, api_key, api_secret)):
        assert len(value) < 30 or value not in message


# ---- Dialects


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1", "bearer"),
        ("/v1/", "bearer"),
        ("/v1/account", "bearer"),
        ("/", "pair"),
        ("", "pair"),
        ("/v2", "pair"),
        ("/v11", "pair"),
        ("/v1x/account", "pair"),
        ("/V1/account", "pair"),
        ("/credentials", "pair"),
        ("/credentials/v1/", "pair"),
    ],
)
def test_the_dialect_of_a_path(path: str, dialect: str) -> None:
    assert dialect_of_path(path) == dialect
    assert spelled(environ(path=path)) == dialect


@pytest.mark.parametrize("path", ["/v1/account", "/credentials"])
@pytest.mark.parametrize("authorization", [None, "", "Basic x", "Bearer", "Bearer ", "Bearer x"])
@pytest.mark.parametrize(
    ("api_key", "api_secret"), [(None, None), (KEY, None), (None, SECRET), ("x", "y")]
)
def test_the_dialect_of_a_request(
    path: str, authorization: str | None, api_key: str | None, api_secret: str | None
) -> None:
    bearer = authorization == "Bearer x"
    pair = api_key is not None or api_secret is not None
    expected = dialect_of_path(path) if bearer == pair else "bearer" if bearer else "pair"
    headers = environ(authorization, api_key, api_secret, path)
    assert spelled(headers) == expected
    assert bearer_presented(headers) == bearer


@pytest.mark.parametrize("name", ["HTTP_X_API_KEY", "HTTP_X_API_SECRET", "HTTP_X_API_VERSION"])
def test_any_header_of_the_family_selects_the_pair_dialect(name: str) -> None:
    for value, path in itertools.product(("", "x"), ("/v1/account", "/credentials")):
        assert spelled({name: value, "PATH_INFO": path}) == "pair"
