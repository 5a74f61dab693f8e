"""The path in a raw target: decoded exactly once, or refused; compared with a plain reference."""

from __future__ import annotations

import unicodedata
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latchkey.errors import InvalidRequest
from latchkey_service.verify.targets import path_of, query_of

HEX = "0123456789abcdefABCDEF"


def expected(target: str) -> str | None:
    """The decoded path, character by character; None if it is refused."""
    path = target.split("?", 1)[0]
    if path[:1] != "/" or any(ord(character) > 255 for character in path):
        return None
    at = 0
    while at < len(path):
        if path[at] == "%":
            code = path[at + 1 : at + 3]
            if len(code) != 2 or code[0] not in HEX or code[1] not in HEX:
                return None
            if code.lower() in ("2f", "5c", "25", "00", "3b", "23", "3f"):
                return None
            at += 2
        elif path[at] in ";#\\":
            return None
        at += 1
    decoded = unquote_to_bytes(path.encode("latin-1"))
    try:
        text = decoded.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if any(unicodedata.category(character) == "Cc" for character in text):
        return None
    segments = text.split("/")[1:]
    if any(segment in (".", "..") for segment in segments) or "" in segments[:-1]:
        return None
    return decoded.decode("latin-1")


def found(target: str) -> str | None:
    try:
        return path_of(target)
    except InvalidRequest:
        return None


REFUSED = (
    *("", "*", "orders", "http://api.example.com/orders", "example.com:443", "?/orders"),
    *("//", "//orders", "/orders//1", "/orders//", "/.", "/..", "/./orders", "/orders/.."),
    *("/%2e", "/%2E%2e/", "/.%2e/orders", "/orders/%2e", "/..;/x", "/a;b", "/a%3bb", "/a%3B"),
    *("/a%2fb", "/a%2F", "/a%5cb", "/a\\b", "/a%25b", "/%2525", "/%", "/%1", "/%zz", "/%u0041"),
    *("/%00", "/a%0ab", "/a%7f", "/\t", "/\x85", "/%c2%85", "/a#b", "/a%23b", "/a%3fb", "/ü€"),
    *("/%ff", "/\xff", "/%c0%af", "/%c0%ae%c0%ae/", "/%ed%a0%80", "/%e0%80%af", "/%2", "/%%32%66"),
)
DECODED = {
    "/": "/",
    "/orders": "/orders",
    "/orders/": "/orders/",
    "/orders/17?a=//..;%00": "/orders/17",
    "/%61%62?%": "/ab",
    "/a%20b": "/a b",
    "/caf%C3%A9": "/cafÃ©",
    "/caf\xc3\xa9": "/cafÃ©",
    "/...": "/...",
    "/.well-known/..x": "/.well-known/..x",
    "/%F0%9F%94%91": "/ð\x9f\x94\x91",
    "/a:b@c!$&'()*+,=~": "/a:b@c!$&'()*+,=~",
    "/*": "/*",
}

raw = st.text(st.characters(max_codepoint=255), max_size=40)
likely = st.lists(
    st.sampled_from(
        [
            *(
                "/",
                "//",
                ".",
                "..",
                "%2e",
                "%2E",
                "%2f",
                "%5c",
                "%25",
                "%00",
                "%61",
                "%c3%a9",
                "%ff",
            ),
            *(
                "%",
                "%4",
                "%zz",
                ";",
                "#",
                "?",
                "\\",
                "a",
                "orders",
                "%3b",
                "%7F",
                "\xc3\xa9",
                "\x80",
            ),
        ]
    ),
    max_size=8,
).map(lambda parts: "/" + "".join(parts))


@given(st.one_of(raw, likely, raw.map(lambda text: f"/{text}"), st.text(max_size=10)))
@example("/" + "a" * 300 + "%2e")
@example("/" + "%61" * 3000)
def test_each_target_is_decoded_as_by_the_reference(target: str) -> None:
    assert found(target) == expected(target)


@given(likely)
def test_decoding_again_changes_nothing(target: str) -> None:
    """A decoded path has nothing left to decode, and no segment that a program would remove."""
    path = found(target)
    if path is not None:
        assert unquote_to_bytes(path.encode("latin-1")) == path.encode("latin-1")
        assert found(path) == path


@pytest.mark.parametrize("target", REFUSED)
def test_refused(target: str) -> None:
    assert expected(target) is None
    with pytest.raises(InvalidRequest) as raised:
        path_of(target)
    # A path may contain a secret.
    assert "orders" not in raised.value.message


@pytest.mark.parametrize(("target", "path"), DECODED.items())
def test_decoded(target: str, path: str) -> None:
    assert found(target) == path


def test_a_query_begins_at_the_first_question_mark() -> None:
    for target, query in (("/a?b=c?d#e", "b=c?d#e"), ("/a", ""), ("/a?", ""), ("?x", "x")):
        assert query_of(target) == query
