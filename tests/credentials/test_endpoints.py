"""Endpoint rules of a key, against a model that enumerates a small world of requests."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latchkey.credentials.endpoints import (
    LONGEST_ENDPOINT,
    EndpointRule,
    EndpointSet,
    endpoint_within,
    parse_endpoint,
)

METHODS = ("GET", "HEAD", "POST", "PATCH")
SEGMENTS = ("", "a", "b", "A")
PATHS = [
    "/" + "/".join(segments)
    for length in (1, 2, 3, 4)
    for segments in itertools.product(SEGMENTS, repeat=length)
]
REQUESTS = list(itertools.product(METHODS, PATHS))

methods = st.sampled_from(["GET", "HEAD", "POST", "*"])
middles = st.lists(st.sampled_from(["a", "b", "*"]), max_size=3)
ends = st.sampled_from(["", "/", "/**"])
rules = st.builds(
    lambda method, middle, end: (
        f"{method} {''.join(f'/{one}' for one in middle)}{end}" if middle or end else f"{method} /"
    ),
    methods,
    middles,
    ends,
)


def matches(rule: str, method: str, path: str) -> bool:
    """The model: a rule as a regular expression over the whole path."""
    wanted, _, pattern = rule.partition(" ")
    if wanted != "*" and wanted != method and (wanted, method) != ("GET", "HEAD"):
        return False
    below = pattern.endswith("/**")
    expression = re.escape(pattern.removesuffix("/**")).replace(r"\*", "[^/]+")
    return re.fullmatch(expression + ("(/.*)?" if below else ""), path) is not None


@given(st.lists(rules, max_size=4))
def test_a_set_matches_what_one_of_its_rules_does(chosen: list[str]) -> None:
    held = EndpointSet(map(parse_endpoint, chosen))
    for method, path in REQUESTS:
        assert held.matches(method, path) == any(matches(rule, method, path) for rule in chosen)


@given(rules, rules)
def test_a_rule_includes_another_where_it_matches_all_that_the_other_does(
    outer: str, inner: str
) -> None:
    included = parse_endpoint(outer).includes(parse_endpoint(inner))
    requests = [request for request in REQUESTS if matches(inner, *request)]
    covered = all(matches(outer, *request) for request in requests)
    if included:
        assert covered
    elif covered:
        # Only what a finite world cannot tell apart: every method, every name, every depth.
        assert inner.startswith("*") or "*" in inner.partition(" ")[2]


@given(rules)
def test_a_rule_is_within_itself_and_written_as_it_was(rule: str) -> None:
    parsed = parse_endpoint(rule)
    assert str(parsed) == rule
    assert endpoint_within(parsed, [parsed])
    assert endpoint_within(parsed, [parse_endpoint("* /**")])
    assert not endpoint_within(parsed, [])


@pytest.mark.parametrize(
    ("outer", "inner", "included"),
    [
        ("* /**", "GET /orders", True),
        ("GET /orders/**", "GET /orders", True),
        ("GET /orders/**", "GET /orders/", True),
        ("GET /orders/**", "HEAD /orders/1", True),
        ("GET /orders/**", "* /orders/1", False),
        ("GET /orders/**", "GET /ordersx", False),
        ("GET /orders/**", "GET /**", False),
        ("GET /orders/*", "GET /orders/*", True),
        ("GET /orders/*", "GET /orders/17", True),
        ("GET /orders/*", "GET /orders/", False),
        ("GET /orders/*", "GET /orders/**", False),
        ("GET /orders/17", "GET /orders/*", False),
        ("GET /*/items", "GET /orders/items", True),
        ("GET /Orders", "GET /orders", False),
        ("HEAD /orders", "GET /orders", False),
    ],
)
def test_inclusion(outer: str, inner: str, included: bool) -> None:
    assert parse_endpoint(outer).includes(parse_endpoint(inner)) == included


def test_a_path_is_compared_as_the_router_sees_it() -> None:
    held = EndpointSet([parse_endpoint("GET /größe/*"), parse_endpoint("GET /größe")])
    path = "/größe".encode().decode("latin-1")
    assert held.matches("GET", path)
    assert held.matches("GET", f"{path}/x")
    assert not held.matches("GET", "/größe")
    for path in ("", "orders", "//orders", "/orders//1", "/./orders"):
        assert not EndpointSet([parse_endpoint("GET /orders/*")]).matches("GET", path)


@pytest.mark.parametrize(
    "text",
    [
        *("", "GET", "/orders", "GET orders", "get /orders", "GET  /orders", "GET /orders x"),
        *("GET /a?b", "GET /a#b", "GET /a%20b", "GET /a;b", "GET /a\\b", "GET /a\n", "GET /\x00"),
        *("GET //a", "GET /a//b", "GET /a//", "GET /./a", "GET /a/..", "GET /a//**"),
        *("GET /a*", "GET /*a", "GET /**/a", "GET /***", "** /a", "G*T /a", "GÉT /a"),
        "GET /" + "a" * LONGEST_ENDPOINT,
    ],
)
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(ValueError, match=r"write|segment|stands|characters"):
        parse_endpoint(text)


def test_a_rule_for_the_root() -> None:
    assert parse_endpoint("GET /") == EndpointRule("GET", ("",), below=False)
    assert EndpointSet([parse_endpoint("GET /")]).matches("GET", "/")
    assert not EndpointSet([parse_endpoint("GET /")]).matches("GET", "/a")
    assert all(EndpointSet([parse_endpoint("* /**")]).matches(*request) for request in REQUESTS)
