"""Issuing credentials with a real store: their terms, which never exceed those of the caller."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latchkey.credentials.models import MODES, Mode
from latchkey.credentials.scopes import FULL_ACCESS, permits
from latchkey.credentials.service import INHERITED, Inherited
from latchkey.credentials.times import utc_now
from latchkey.credentials.tokens import api_key_from, check_api_key, hash_secret, read_secret
from latchkey.errors import DuplicateApiKey, InsufficientScope, InvalidField
from tests.support.audited import TESTER
from tests.support.credentials.office import KEYS, NEW, Office
from tests.support.credentials.some_scopes import SOME_SCOPES, is_reserved


def test_the_operator_has_all_rights(office: Office) -> None:
    issued = office.service.issue(name="first", caller=None, by=TESTER)
    credential = issued.credential
    assert (credential.mode, credential.scopes, credential.expires_at) == (
        "live",
        FULL_ACCESS,
        None,
    )
    assert credential.derivation_id == NEW.id
    assert KEYS.maker_of(read_secret(issued.secret)) is NEW
    assert check_api_key(credential.api_key) == read_secret(issued.secret).api_key
    assert credential.secret_hash == hash_secret(issued.secret)
    assert credential == office.store.find(credential.api_key)
    assert issued.secret not in repr(issued)


def test_a_seed_creates_one_key_however_often_it_is_sent(office: Office) -> None:
    def issue(seed: bytes, mode: Mode = "live") -> str:
        issued = office.service.issue(name="x", caller=None, by=TESTER, seed=seed, mode=mode)
        assert check_api_key(issued.credential.api_key) == api_key_from(mode, seed)
        return issued.credential.api_key

    first = issue(b"one")
    with pytest.raises(DuplicateApiKey):
        issue(b"one")
    # The seed stays used.
    office.service.revoke(first, None, by=TESTER)
    with pytest.raises(DuplicateApiKey):
        issue(b"one")
    assert len({first, issue(b"two"), issue(b""), issue(b"one", "test")}) == 4


def test_inherited_terms_are_those_of_the_caller(office: Office) -> None:
    until = utc_now() + timedelta(hours=1)
    who = office.caller(frozenset({"account:read", "credentials:write"}), "test", until)
    made = office.service.issue(name="same", caller=who, by=TESTER).credential
    assert (made.mode, made.scopes, made.expires_at) == ("test", who.scopes, until)


def test_no_expiry_differs_from_the_callers_expiry(office: Office) -> None:
    until = utc_now() + timedelta(hours=1)
    with pytest.raises(InsufficientScope):
        office.service.issue(
            name="for ever", caller=office.caller(expires_at=until), expires_at=None, by=TESTER
        )
    made = office.service.issue(
        name="for ever", caller=office.caller(), expires_at=None, by=TESTER
    ).credential
    assert made.expires_at is None
    inherited = office.service.issue(
        name="the same", caller=office.caller(expires_at=until), expires_at=INHERITED, by=TESTER
    ).credential
    assert inherited.expires_at == until


@pytest.mark.parametrize("past", [timedelta(0), timedelta(milliseconds=1), timedelta(days=9000)])
def test_an_expiry_must_be_in_the_future(office: Office, past: timedelta) -> None:
    with pytest.raises(InvalidField) as raised:
        office.service.issue(name="late", caller=None, expires_at=utc_now() - past, by=TESTER)
    assert raised.value.field == "expires_at"


def test_no_later_expiry_than_the_callers(office: Office) -> None:
    until = utc_now() + timedelta(hours=1)
    millisecond = timedelta(milliseconds=1)
    for allowed in (until, until - millisecond):
        made = office.service.issue(
            name="x", caller=office.caller(expires_at=until), expires_at=allowed, by=TESTER
        )
        assert made.credential.expires_at == allowed
    with pytest.raises(InsufficientScope) as raised:
        office.service.issue(
            name="x",
            caller=office.caller(expires_at=until),
            expires_at=until + millisecond,
            by=TESTER,
        )
    assert raised.value.scope is None


def test_no_key_of_the_other_mode(office: Office) -> None:
    for own, other in itertools.permutations(MODES):
        with pytest.raises(InsufficientScope):
            office.service.issue(name="x", caller=office.caller(mode=own), mode=other, by=TESTER)


@given(data=st.data())
@settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_no_request_grants_more_than_the_caller_has(office: Office, data: st.DataObject) -> None:
    now = utc_now()
    some_scopes = st.frozensets(st.sampled_from(SOME_SCOPES), min_size=1)
    some_expiry = st.one_of(
        st.none(), st.integers(1, 3).map(lambda days: now + timedelta(days=days))
    )
    who = office.caller(
        data.draw(some_scopes), data.draw(st.sampled_from(MODES)), data.draw(some_expiry)
    )
    mode: Mode | Inherited = data.draw(st.sampled_from(("live", "test", INHERITED)))
    scopes: frozenset[str] | Inherited = data.draw(st.one_of(st.just(INHERITED), some_scopes))
    expires_at: datetime | None | Inherited = data.draw(st.one_of(st.just(INHERITED), some_expiry))
    allowed = (
        permits(who.scopes, "credentials:write")
        and mode in (INHERITED, who.mode)
        and (
            scopes is INHERITED
            or all(permits(who.scopes, scope) and not is_reserved(scope) for scope in scopes)
        )
        and (
            expires_at is INHERITED
            or who.expires_at is None
            or (expires_at is not None and expires_at <= who.expires_at)
        )
    )
    terms = {"mode": mode, "scopes": scopes, "expires_at": expires_at}
    try:
        made = office.service.issue(name="x", caller=who, **terms, by=TESTER).credential  # type: ignore[arg-type]
    except InsufficientScope:
        assert not allowed
    else:
        assert allowed
        passed_on = frozenset(scope for scope in who.scopes if not is_reserved(scope))
        own = {"mode": who.mode, "scopes": passed_on, "expires_at": who.expires_at}
        got = {"mode": made.mode, "scopes": made.scopes, "expires_at": made.expires_at}
        assert got == {
            name: own[name] if value is INHERITED else value for name, value in terms.items()
        }


def test_a_derived_pair_is_not_stored(office: Office) -> None:
    api_key, secret = office.service.derive_pair("test")
    assert KEYS.maker_of(read_secret(secret)) is NEW
    assert read_secret(secret).api_key == api_key
    assert office.store.find(api_key) is None
    assert office.service.register(api_key, secret, None, by=TESTER).mode == "test"


def test_times_are_truncated_to_milliseconds(office: Office) -> None:
    for _ in range(50):
        assert utc_now().microsecond % 1000 == 0
    until = datetime(2199, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)
    issued = office.service.issue(name="late", caller=None, expires_at=until, by=TESTER)
    assert office.store.find(issued.credential.api_key) == replace(
        issued.credential, expires_at=until
    )
