"""Rules of a routes file: which rule decides about a request, and which can never."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latchkey.credentials.endpoints import EndpointSet, parse_endpoint
from latchkey.errors import InvalidRequest
from latchkey_service.verify.originals import host_of
from latchkey_service.verify.rules import Rule, Rules


def rule(line: int, methods: str, path: str, host: str = "*") -> Rule:
    endpoints = [parse_endpoint(f"{method} {path}") for method in methods.split("|")]
    return Rule(line, host, tuple(endpoints))


RULES = Rules(
    [
        rule(1, "GET", "/orders/**", "*.example.com"),
        rule(2, "POST|PUT", "/orders/*", "api.example.com"),
        rule(3, "*", "/docs/**"),
        rule(4, "GET", "/Ünïcode", "api.example.com"),
        rule(5, "*", "/**", "[::1]"),
        rule(6, "DELETE", "/", "*"),
    ]
)


@pytest.mark.parametrize(
    ("method", "host", "path", "line"),
    [
        ("GET", "api.example.com", "/orders", 1),
        ("HEAD", "a.b.example.com", "/orders/1/items", 1),
        ("GET", "example.com", "/orders", None),
        ("GET", "evilexample.com", "/orders", None),
        ("GET", "api.example.com.evil", "/orders", None),
        ("get", "api.example.com", "/orders", None),
        ("GET", "api.example.com", "/Orders", None),
        ("GET", "api.example.com", "/orders2", None),
        ("PUT", "api.example.com", "/orders/1", 2),
        ("PUT", "api.example.com", "/orders/1/2", None),
        ("PUT", "api.example.com", "/orders/", None),
        ("PUT", "www.example.com", "/orders/1", None),
        ("OPTIONS", "", "/docs/", 3),
        ("GET", "anything", "/docs\n/x", None),
        ("GET", "anything", "/docs/\n", 3),
        ("GET", "api.example.com", "/Ünïcode".encode().decode("latin-1"), 4),
        ("GET", "api.example.com", "/Ünïcode", None),
        ("GET", "[::1]", "/", 5),
        ("DELETE", "x", "/", 6),
        ("DELETE", "x", "//", None),
        ("DELETE", "x", "", None),
    ],
)
def test_the_first_rule_that_matches(method: str, host: str, path: str, line: int | None) -> None:
    found = RULES.match(method, host, path)
    assert (None if found is None else found.line) == line


def test_a_space_in_host_or_method_does_not_move_the_boundary() -> None:
    rules = Rules([rule(1, "GET", "/open/**", "a.example")])
    assert rules.match("GET", "a.example", "/open/x") is not None
    assert rules.match("/open", "a.example GET", "/x") is None
    assert rules.match("GET /open", "a.example", "/x") is None
    assert rules.match("GET", "a" * 254, "/open/x") is None


SEGMENTS = st.sampled_from(["", "a", "b", "ab", "*", "é"])
PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "é"]), max_size=3)


@given(
    st.lists(st.tuples(st.sampled_from(["GET", "PUT", "*"]), PATTERNS, st.booleans()), max_size=5),
    st.sampled_from(["GET", "HEAD", "PUT", "DELETE"]),
    st.lists(SEGMENTS, min_size=1, max_size=4),
)
def test_paths_match_like_the_endpoints_of_a_key(
    written: list[tuple[str, list[str], bool]], method: str, segments: list[str]
) -> None:
    parsed = [
        parse_endpoint(f"{one} /{'/'.join([*pattern, *['**'][:below]])}")
        for one, pattern, below in written
    ]
    path = f"/{'/'.join(segments)}".encode().decode("latin-1")
    expected = next((one for one in parsed if EndpointSet([one]).matches(method, path)), None)
    rules = Rules([Rule(line, "*", (endpoint,)) for line, endpoint in enumerate(parsed)])
    found = rules.match(method, "a.example", path) if parsed else None
    assert (None if found is None else found.endpoints[0]) == expected


def test_rules_that_can_never_match() -> None:
    rules = Rules(
        [
            rule(1, "GET", "/a/**", "*.example.com"),
            rule(2, "HEAD", "/a/b", "api.example.com"),
            rule(3, "GET|PUT", "/a/b", "api.example.com"),
            rule(4, "PUT", "/a/*", "*.example.com"),
            rule(5, "PUT", "/a/b", "*.api.example.com"),
            rule(6, "PUT", "/a/b", "*"),
            rule(7, "PUT", "/a/b", "example.com"),
        ]
    )
    assert [(one.line, by.line) for one, by in rules.unreachable()] == [(2, 1), (5, 4), (7, 6)]


def test_a_rule_as_text() -> None:
    assert str(rule(1, "GET|PUT", "/a/**", "*.example.com")) == "GET, PUT *.example.com/a/**"
    assert str(rule(1, "*", "/")) == "* /"
    assert re.fullmatch(r"Rule\(line=1, .*\)", repr(rule(1, "*", "/")))


def test_a_dot_at_the_end_does_not_lead_past_the_rules_of_a_host() -> None:
    for host in ("api.example.com", "API.example.com.", "api.example.com.:443"):
        assert host_of(host) == "api.example.com"
    for host in (".", "api.example.com..", ""):
        with pytest.raises(InvalidRequest):
            host_of(host)
