"""Conditions of a key: what is within a caller's, and what is stored and read again."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latchkey.credentials.conditions import (
    NO_CONDITIONS,
    NO_FACTS,
    Conditions,
    Evaluation,
    RequestFacts,
    conditions_detail,
    conditions_of_text,
    conditions_text,
    parse_endpoints,
    parse_networks,
)
from latchkey.errors import (
    AddressNotAllowed,
    DisabledCredential,
    EndpointNotAllowed,
    InvalidField,
    NotYetValidCredential,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
some_networks = st.none() | st.lists(
    st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "::/0", "2001:db8::/32"]),
    min_size=1,
).map(parse_networks)
some_endpoints = st.none() | st.lists(
    st.sampled_from(["* /**", "GET /orders/**", "GET /orders/*", "POST /orders"]), min_size=1
).map(parse_endpoints)
some_conditions = st.builds(
    Conditions,
    enabled=st.booleans(),
    not_before=st.none()
    | st.integers(0, 2**42).map(lambda milliseconds: EPOCH + timedelta(milliseconds=milliseconds)),
    networks=some_networks,
    networks_mode=st.sampled_from(["enforce", "observe"]),
    endpoints=some_endpoints,
)
ADDRESSES = [
    None,
    *map(ip_address, ("10.1.2.3", "10.2.0.1", "192.0.2.7", "192.0.2.8", "2001:db8::1", "::1")),
]
REQUESTS = [
    ("GET", "/orders"),
    ("HEAD", "/orders/1"),
    ("POST", "/orders"),
    ("GET", "/orders/1/x"),
    ("PUT", "/"),
]


@given(some_conditions)
def test_what_is_stored_is_read_again(conditions: Conditions) -> None:
    assert conditions_of_text(conditions_text(conditions)) == conditions
    assert (conditions_text(conditions) is None) == (conditions == NO_CONDITIONS)
    assert conditions_detail(NO_CONDITIONS) == {}


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "1", '"x"', '{"other":1}', '{"enabled":"no"}', '{"enabled":0}'),
        *('{"networks":["10.0.0.1/8"]}', '{"networks":[]}', '{"networks":"::"}', '{"networks":1}'),
        *('{"endpoints":[""]}', '{"networks_mode":"watch"}', '{"not_before":"soon"}', "{"),
    ],
)
def test_conditions_that_cannot_be_read_are_not_ignored(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        conditions_of_text(text)


@given(some_conditions, some_conditions)
def test_what_is_within_admits_no_request_that_the_caller_could_not_make(
    own: Conditions, callers: Conditions
) -> None:
    if own.outside(callers) is not None:
        return
    mine, theirs = Evaluation(own), Evaluation(callers)
    for address, (method, path) in itertools.product(ADDRESSES, REQUESTS):
        facts = RequestFacts(method, path, address)
        if theirs.objection_to(facts) is not None:
            assert mine.objection_to(facts) is not None


@given(some_conditions)
def test_within_itself_unless_it_only_observes(conditions: Conditions) -> None:
    assert conditions.outside(conditions) is None
    assert conditions.outside(NO_CONDITIONS) is None


@pytest.mark.parametrize(
    ("own", "callers", "field"),
    [
        ({"networks": None}, {"networks": ["10.0.0.0/8"]}, "networks"),
        ({"networks": ["10.1.0.0/16", "::1"]}, {"networks": ["10.0.0.0/8"]}, "networks"),
        ({"networks": ["10.1.0.0/16"]}, {"networks": ["10.0.0.0/8"]}, None),
        ({"networks": None}, {"networks": ["10.0.0.0/8"], "networks_mode": "observe"}, None),
        (
            {"networks": ["10.1.0.0/16"], "networks_mode": "observe"},
            {"networks": ["10.0.0.0/8"]},
            "networks",
        ),
        ({"endpoints": None}, {"endpoints": ["GET /a/**"]}, "endpoints"),
        ({"endpoints": ["GET /a/b", "GET /b"]}, {"endpoints": ["GET /a/**"]}, "endpoints"),
        ({"endpoints": ["GET /a/b"]}, {"endpoints": ["GET /a/**"]}, None),
        ({"enabled": False}, {}, None),
    ],
)
def test_the_first_field_that_is_wider(
    own: dict[str, object], callers: dict[str, object], field: str | None
) -> None:
    assert _conditions(own).outside(_conditions(callers)) == field


def test_an_evaluation() -> None:
    at = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
    just_before = at - timedelta(milliseconds=1)
    here = RequestFacts("GET", "/orders", ip_address("10.1.2.3"))
    late = Evaluation(Conditions(not_before=at))
    assert isinstance(late.objection_at(just_before), NotYetValidCredential)
    assert late.objection_at(at) is None
    assert late.objection_to(NO_FACTS) is None
    # Disabled comes first.
    disabled = Evaluation(Conditions(enabled=False, not_before=at))
    assert isinstance(disabled.objection_at(just_before), DisabledCredential)
    networks = parse_networks(["10.0.0.0/8"])
    limited = Evaluation(Conditions(networks=networks, endpoints=parse_endpoints(["GET /orders"])))
    assert limited.objection_to(here) is None
    for address in (None, ip_address("192.0.2.1"), ip_address("::ffff:10.1.2.3")):
        assert isinstance(limited.objection_to(here._replace(address=address)), AddressNotAllowed)
    for facts in (here._replace(path="/"), here._replace(path=None), here._replace(method=None)):
        assert isinstance(limited.objection_to(facts), EndpointNotAllowed)
        # The network comes first.
        assert isinstance(limited.objection_to(facts._replace(address=None)), AddressNotAllowed)
    observed = Evaluation(Conditions(networks=networks, networks_mode="observe"))
    for facts, counted in ((here, False), (NO_FACTS, True)):
        assert observed.objection_to(facts) is None
        assert observed.observes(facts) == counted
        assert not limited.observes(facts)


def test_lists_are_bounded() -> None:
    for parse, form in ((parse_networks, "10.0.0.{}"), (parse_endpoints, "GET /{}")):
        items = [form.format(number) for number in range(33)]
        assert len(parse(items[:32])) == 32
        assert len(parse([*items[:32], items[0]])) == 32
        for wrong in ([], items):
            with pytest.raises(InvalidField, match="list 1 to 32"):
                parse(wrong)


def _conditions(given_fields: dict[str, object]) -> Conditions:
    fields = dict(given_fields)
    if isinstance(networks := fields.get("networks"), list):
        fields["networks"] = parse_networks(networks)
    if isinstance(endpoints := fields.get("endpoints"), list):
        fields["endpoints"] = parse_endpoints(endpoints)
    return Conditions(**fields)  # type: ignore[arg-type]
