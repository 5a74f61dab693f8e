"""The algebra of scopes against a brute-force model, and what may be granted."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latchkey.credentials.granting import (
    grantable,
    parse_allowed,
    parse_scopes,
    require_allowed,
    require_within,
)
from latchkey.credentials.models import Principal
from latchkey.credentials.scopes import (
    BUILT_IN_SCOPES,
    FULL_ACCESS,
    LONGEST_SCOPES,
    MOST_SCOPES,
    lies_within,
    parse_scope,
    permits,
    selectors,
    sufficient_scopes,
)
from latchkey.errors import InsufficientScope, InvalidField

# The model: a scope is the set of (resource, action, object) that it permits, over a small world.
# The objects include every prefix and equal text that the selectors below can tell apart; None is
# a requirement without an object. "other" stands for resources and actions of later versions.
RESOURCES = ("account", "accounts", "credentials", "verify", "orders", "other")
ACTIONS = ("read", "write", "export")
SELECTORS = ("a", "ab", "abc", "b", "a*", "ab*", "abc*", "b*")
OBJECTS = (None, "a", "ab", "abc", "abcd", "b", "bc", "c", "a*")
RESERVED = ("accounts", "verify")
Right = tuple[str, str, str | None]

ALL_SCOPES = [
    "*",
    "*:read",
    *(f"{resource}:{action}" for resource in RESOURCES for action in ACTIONS),
    *(f"{r}:{a}:{s}" for r in ("orders", "other") for a in ACTIONS for s in SELECTORS),
]
a_scope = st.sampled_from(ALL_SCOPES)
some_scopes = st.frozensets(a_scope, max_size=5)


def rights(scope: str) -> frozenset[Right]:
    """Everything that one scope permits."""
    resource, *rest = scope.split(":")
    if resource == "*":
        resources: Iterable[str] = [name for name in RESOURCES if name not in RESERVED]
        actions: Iterable[str] = rest or (*ACTIONS, "other")
    else:
        resources = [resource]
        actions = {"write": ("read", "write")}.get(rest[0], (rest[0],))
    things: Iterable[str | None] = OBJECTS
    if len(rest) == 2:
        prefix, star, _ = rest[1].partition("*")
        things = [
            thing
            for thing in OBJECTS
            if thing is not None and (thing.startswith(prefix) if star else thing == prefix)
        ]
    return frozenset(itertools.product(resources, actions, things))


def rights_of(scopes: Iterable[str]) -> frozenset[Right]:
    return frozenset().union(*map(rights, scopes))


def principal(scopes: Iterable[str]) -> Principal:
    return Principal(1, "acct", "ak_live_x", "live", None, frozenset(scopes), None)


def test_one_scope_includes_another_where_its_rights_include_them() -> None:
    for granted, needed in itertools.product(ALL_SCOPES, repeat=2):
        # The rights of "a*" differ from those of a set of names only by objects that exist.
        includes = permits({granted}, needed)
        assert includes == (rights(needed) <= rights(granted) and _as_wide(granted, needed)), (
            granted,
            needed,
        )


def _as_wide(granted: str, needed: str) -> bool:
    """Whether a prefix is needed only of a prefix: a finite world cannot tell."""
    if not needed.endswith("*") or needed == "*":
        return True
    return granted.endswith("*") or granted.count(":") < 2


@given(some_scopes, a_scope, st.sampled_from(OBJECTS))
def test_a_set_permits_an_object_where_one_of_its_scopes_does(
    granted: frozenset[str], needed: str, thing: str | None
) -> None:
    if needed.count(":") != 1 or needed == "*:read":
        return
    resource, action = needed.split(":")
    assert principal(granted).permits(needed, thing) == (
        (resource, action, thing) in rights_of(granted)
    )


@given(some_scopes, a_scope)
def test_selectors_list_exactly_the_objects_that_are_permitted(
    granted: frozenset[str], needed: str
) -> None:
    if needed.count(":") != 1 or needed == "*:read":
        with pytest.raises(ValueError, match="is not <resource>:<action>"):
            selectors(granted, needed)
        return
    listed = principal(granted).selectors(needed)
    for thing in OBJECTS[1:]:
        assert thing is not None
        shown = any(
            thing.startswith(one[:-1]) if one.endswith("*") else thing == one for one in listed
        )
        assert shown == permits(granted, needed, thing)
    assert (listed == ("*",)) == permits(granted, needed)


@given(some_scopes, some_scopes, some_scopes)
def test_within_is_reflexive_transitive_and_grows_with_what_is_granted(
    one: frozenset[str], two: frozenset[str], three: frozenset[str]
) -> None:
    assert lies_within(one, one)
    assert lies_within(one, one | two)
    if lies_within(one, two):
        # No right is gained by passing scopes on.
        assert rights_of(one) <= rights_of(two)
        assert lies_within(one, two | three)
        if lies_within(two, three):
            assert lies_within(one, three)


@pytest.mark.parametrize("needed", [scope for scope in ALL_SCOPES if scope.count(":") < 2])
def test_the_sufficient_scopes_are_those_that_include_it(needed: str) -> None:
    plain = {scope for scope in ALL_SCOPES if scope.count(":") < 2}
    assert sufficient_scopes(needed) & plain == {one for one in plain if permits({one}, needed)}


def test_an_object_is_a_value_and_an_empty_one_is_none() -> None:
    assert not permits({"*"}, "orders:read", "")
    assert not permits({"orders:read"}, "orders:read", "")
    assert permits({"orders:read:eu-*"}, "orders:read", "eu-*")
    assert permits({"orders:read:eu-*"}, "orders:read", "eu-1:x/../é")
    assert not permits({"orders:read:eu-17"}, "orders:read", "eu-17 ")
    assert not permits({"orders:read:eu-17"}, "orders:read", "EU-17")
    assert not permits({"orders:read:eu-17"}, "orders:read")


def test_stored_text_that_is_no_scope_grants_nothing() -> None:
    assert not permits({"orders", "", "*:write", "a:read:*"}, "orders:read")
    assert not lies_within({"orders"}, {"*"})


GOOD = [
    *ALL_SCOPES,
    "a:b",
    f"{'r' * 32}:{'a' * 32}:{'S' * 64}*",
    "line-items_2:re-index",
    "orders:read:._-",
]
BAD = [
    *("", "read", "orders", "orders:", ":read", "orders:*", "*:write", "*:read:x", "**", "*:*"),
    *("orders:read:", "orders:read:*", "orders:read:a*b", "orders:read:**", "orders:read:a:b"),
    *("Orders:read", "orders:Read", "1rders:read", "orders:read:é", "orders:read:a b", "a:b\n"),
    *(" orders:read", f"{'r' * 33}:read", f"a:{'b' * 33}", f"a:b:{'c' * 65}", "orders:read:a/b"),
    *(f"{name}:read:x" for name in ("account", "accounts", "credentials", "verify")),
]


@pytest.mark.parametrize("scope", GOOD)
def test_a_well_formed_scope_is_taken(scope: str) -> None:
    assert parse_scopes([scope, scope]) == {scope}


@pytest.mark.parametrize("scope", BAD)
def test_a_malformed_scope_is_refused(scope: str) -> None:
    with pytest.raises(ValueError, match="scope"):
        parse_scope(scope)
    with pytest.raises(InvalidField) as raised:
        parse_scopes(["orders:read", scope])
    assert raised.value.field == "scopes"


def test_scopes_are_bounded() -> None:
    assert len(parse_scopes(f"a:b{number}" for number in range(MOST_SCOPES))) == MOST_SCOPES
    with pytest.raises(InvalidField, match="at most 64"):
        parse_scopes(f"a:b{number}" for number in range(MOST_SCOPES + 1))
    longest = [f"orders:read:{number:02}{'x' * 62}" for number in range(26)]
    assert len(" ".join(longest)) == 2001
    parse_scopes([*longest, f"orders:x:{'y' * (LONGEST_SCOPES - 2001 - 1 - 9)}"])
    with pytest.raises(InvalidField, match="2048"):
        parse_scopes([*longest, f"orders:x:{'y' * (LONGEST_SCOPES - 2001 - 9)}"])
    with pytest.raises(InvalidField):
        parse_scopes([])


def test_the_error_names_the_first_scope_that_is_missing() -> None:
    with pytest.raises(InsufficientScope) as raised:
        require_within({"credentials:write", "account:write", "account:read"}, {"*:read"})
    assert raised.value.scope == "account:write"
    assert "account:write" in raised.value.message


@pytest.mark.parametrize("scope", ["accounts:read", "accounts:write", "verify:write"])
def test_no_key_can_give_a_reserved_scope(scope: str) -> None:
    assert not permits(FULL_ACCESS, scope)
    assert not permits({"*:read"}, scope)
    with pytest.raises(InsufficientScope):
        require_within({scope}, FULL_ACCESS)
    with pytest.raises(InsufficientScope, match="only the operator"):
        require_within({scope}, {"*", "accounts:write", "verify:write"})
    # What the key has already may stay, as in a rotation.
    require_within({scope}, {"*", "accounts:write", "verify:write"}, {scope})
    assert grantable({"*", scope, "orders:read"}) == {"*", "orders:read"}


def test_only_listed_scopes_are_allowed() -> None:
    allowed = parse_allowed(" orders:read, orders:write ,")
    assert allowed == {"orders:read", "orders:write"}
    require_allowed({*BUILT_IN_SCOPES, "orders:read", "orders:write:eu-*"}, allowed)
    require_allowed({"anything:goes"}, parse_allowed(""))
    for scope in ("orders:export", "invoices:read", "orders:export:eu-1", "account:export"):
        with pytest.raises(InvalidField, match="orders:read, orders:write"):
            require_allowed({scope}, allowed)
    for listed in ("orders", "orders:read:eu-1", "orders:read orders:write", "orders:*"):
        with pytest.raises(ValueError, match="scope"):
            parse_allowed(listed)
