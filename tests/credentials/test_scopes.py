"""Scopes, tested exhaustively: which scope permits which, and inclusion of sets."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from latchkey.credentials.scopes import (
    FULL_ACCESS,
    KNOWN_SCOPES,
    parse_scopes,
    permits,
    require_within,
)
from latchkey.errors import InsufficientScope, InvalidField

RESOURCES = ("account", "credentials")
SUBSETS = [
    frozenset(chosen)
    for size in range(len(KNOWN_SCOPES) + 1)
    for chosen in itertools.combinations(KNOWN_SCOPES, size)
]


def rights(scope: str) -> frozenset[tuple[str, str]]:
    """The rights of a scope, as a model: (resource, action); "…" stands for later additions."""
    resource, _, action = scope.partition(":")
    resources = (*RESOURCES, "…") if resource == "*" else (resource,)
    actions = ("read",) if action == "read" else ("read", "write")
    return frozenset(itertools.product(resources, actions))


def rights_of(scopes: Iterable[str]) -> frozenset[tuple[str, str]]:
    return frozenset().union(*(rights(scope) for scope in scopes))


def test_the_known_scopes() -> None:
    assert KNOWN_SCOPES == (
        "*",
        "*:read",
        "account:read",
        "account:write",
        "credentials:read",
        "credentials:write",
    )
    assert {"*"} == FULL_ACCESS


@pytest.mark.parametrize("granted", KNOWN_SCOPES)
@pytest.mark.parametrize("needed", KNOWN_SCOPES)
def test_one_scope_permits_another_if_its_rights_include_it(granted: str, needed: str) -> None:
    assert permits({granted}, needed) == (rights(needed) <= rights(granted))


def test_a_set_permits_what_one_of_its_scopes_permits() -> None:
    for granted in SUBSETS:
        for needed in KNOWN_SCOPES:
            assert permits(granted, needed) == any(permits({one}, needed) for one in granted)


def test_lies_within_is_reflexive_transitive_and_monotonic() -> None:
    within = {(asked, granted): _within(asked, granted) for asked in SUBSETS for granted in SUBSETS}
    for one in SUBSETS:
        assert within[one, one]
        assert within[one, FULL_ACCESS]
        assert within[one, frozenset()] == (not one)
    for (asked, granted), inside in within.items():
        # Giving scopes to another key never adds a right.
        if inside:
            assert rights_of(asked) <= rights_of(granted)
            for more in KNOWN_SCOPES:
                assert within[asked, granted | {more}]
    insides = [pair for pair, inside in within.items() if inside]
    above: dict[frozenset[str], set[frozenset[str]]] = {}
    for asked, granted in insides:
        above.setdefault(asked, set()).add(granted)
    for asked, granted in insides:
        assert above[granted] <= above[asked]


def test_the_error_names_the_first_missing_scope() -> None:
    with pytest.raises(InsufficientScope) as raised:
        require_within({"credentials:write", "account:write", "account:read"}, {"*:read"})
    assert raised.value.scope == "account:write"
    assert "account:write" in raised.value.message


def test_parsing_accepts_only_known_scopes() -> None:
    for subset in SUBSETS[1:]:
        assert parse_scopes([*subset, *subset]) == subset
    for asked in (
        [],
        ["*", "ledger:read"],
        [""],
        ["read"],
        ["*:write"],
        ["account"],
        ["ACCOUNT:READ"],
    ):
        with pytest.raises(InvalidField) as raised:
            parse_scopes(asked)
        assert raised.value.field == "scopes"


def _within(asked: frozenset[str], granted: frozenset[str]) -> bool:
    try:
        require_within(asked, granted)
    except InsufficientScope:
        return False
    return True
