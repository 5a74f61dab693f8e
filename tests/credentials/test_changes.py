"""Changing and rotating credentials with a real store: permissions and results."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latchkey.credentials.models import Change, Credential, Principal
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.scopes import FULL_ACCESS, permits
from latchkey.credentials.service import DEFAULT_OVERLAP, CredentialService
from latchkey.credentials.times import utc_now
from latchkey.credentials.tokens import lookup_key, new_api_key, read_secret
from latchkey.errors import (
    AlreadyRotated,
    CredentialNotFound,
    InsufficientScope,
    InvalidField,
    KeyExpired,
    StoreError,
)
from tests.support.audited import TESTER
from tests.support.credentials.office import KEYS, NEW, Office
from tests.support.credentials.some_scopes import SOME_SCOPES, is_reserved

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
READER = frozenset({"account:read"})


def issue(office: Office, **terms: object) -> Credential:
    made = office.service.issue(name="old", caller=None, **terms, by=TESTER)  # type: ignore[arg-type]
    office.seen.clear()
    return made.credential


def found(office: Office, api_key: str) -> Credential:
    return office.service.get(api_key, None)


def until(expires_at: datetime | None) -> Change:
    return Change(sets_expiry=True, expires_at=expires_at)


# ---- Change


def test_a_change_is_committed_then_invalidated(office: Office) -> None:
    old = issue(office)
    changed = office.service.change(old.api_key, Change(name="new", scopes=READER), None, by=TESTER)
    assert (changed.name, changed.scopes) == ("new", READER)
    assert changed == found(office, old.api_key)
    assert [lookup for lookup, _ in office.seen] == [old.lookup]


def test_a_change_that_was_already_made_invalidates_too(office: Office) -> None:
    """The first call may have died between its commit and its invalidation."""
    old = issue(office)
    for _ in range(2):
        office.service.change(old.api_key, Change(scopes=READER), None, by=TESTER)
    assert [lookup for lookup, _ in office.seen] == [old.lookup] * 2


def test_only_unrevoked_keys_of_the_callers_mode_change(office: Office) -> None:
    revoked, other = issue(office), issue(office, mode="test")
    office.service.revoke(revoked.api_key, None, by=TESTER)
    for api_key in (revoked.api_key, other.api_key, new_api_key("live")):
        with pytest.raises(CredentialNotFound):
            office.service.change(api_key, Change(name="new"), office.caller(), by=TESTER)
        with pytest.raises(CredentialNotFound):
            office.service.rotate(api_key, office.caller(), by=TESTER)
    assert found(office, other.api_key) == other


def test_a_revoked_key_is_invalidated_by_every_change(office: Office) -> None:
    revoked = issue(office)
    office.service.revoke(revoked.api_key, None, by=TESTER)
    office.seen.clear()
    for act in (
        lambda: office.service.change(revoked.api_key, Change(name="new"), None, by=TESTER),
        lambda: office.service.rotate(revoked.api_key, None, by=TESTER),
    ):
        with pytest.raises(CredentialNotFound):
            act()
    assert [lookup for lookup, _ in office.seen].count(revoked.lookup) == 2


def test_an_expired_key_can_get_a_new_expiry(office: Office) -> None:
    old = issue(office, expires_at=utc_now() + HOUR)
    office.expire(old.api_key)
    assert found(office, old.api_key).status(utc_now()) == "expired"
    later = utc_now() + DAY
    changed = office.service.change(old.api_key, until(later), None, by=TESTER)
    assert (changed.expires_at, changed.status(utc_now())) == (later, "active")


@pytest.mark.parametrize("past", [timedelta(0), DAY])
def test_a_new_expiry_must_be_in_the_future(office: Office, past: timedelta) -> None:
    old = issue(office)
    with pytest.raises(InvalidField) as raised:
        office.service.change(old.api_key, until(utc_now() - past), None, by=TESTER)
    assert raised.value.field == "expires_at"
    assert found(office, old.api_key) == old


def test_a_name_must_not_contain_a_secret(office: Office) -> None:
    old = issue(office)
    secret = NEW.derive(new_api_key("live"))
    with pytest.raises(InvalidField) as raised:
        office.service.change(old.api_key, Change(name=f"key {secret}"), None, by=TESTER)
    assert raised.value.field == "name"
    assert secret not in str(raised.value)


def test_no_later_expiry_than_the_callers(office: Office) -> None:
    end = utc_now() + DAY
    who = office.caller(expires_at=end)
    old = issue(office, expires_at=end + DAY)
    for refused in (None, end + timedelta(milliseconds=1), end + DAY):
        with pytest.raises(InsufficientScope):
            office.service.change(old.api_key, until(refused), who, by=TESTER)
    # Unchanged terms are not checked.
    assert (
        office.service.change(old.api_key, Change(name="new"), who, by=TESTER).expires_at
        == end + DAY
    )
    assert office.service.change(old.api_key, until(end), who, by=TESTER).expires_at == end


def test_a_key_does_not_extend_itself(office: Office) -> None:
    old = issue(office, expires_at=utc_now() + DAY)
    itself = old.principal()
    with pytest.raises(InsufficientScope):
        office.service.change(old.api_key, until(utc_now() + 2 * DAY), itself, by=TESTER)
    with pytest.raises(InsufficientScope):
        office.service.change(old.api_key, until(None), itself, by=TESTER)
    sooner = utc_now() + HOUR
    assert office.service.change(old.api_key, until(sooner), itself, by=TESTER).expires_at == sooner


some_scopes = st.frozensets(st.sampled_from(SOME_SCOPES), min_size=1)


@given(own=some_scopes, old=some_scopes, new=st.none() | some_scopes)
@settings(
    max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_old_and_new_scopes_lie_within_the_callers(
    office: Office, own: frozenset[str], old: frozenset[str], new: frozenset[str] | None
) -> None:
    target = issue(office, scopes=old)
    may_change = permits(own, "credentials:write")
    allowed = (new is None or may_change) and all(
        permits(own, scope) for scope in old | (new or frozenset())
    )
    # A key may leave a reserved scope where it is, and never gives one.
    allowed = allowed and not any(map(is_reserved, (new or frozenset()) - old))
    rotatable = may_change and all(permits(own, scope) for scope in old)
    try:
        changed = office.service.change(
            target.api_key, Change(scopes=new), office.caller(own), by=TESTER
        )
    except InsufficientScope:
        assert not allowed
        assert found(office, target.api_key) == target
    else:
        assert allowed
        assert changed.scopes == (old if new is None else new)
        return
    try:
        made = office.service.rotate(target.api_key, office.caller(own), by=TESTER).credential
    except InsufficientScope:
        assert not rotatable
        assert found(office, target.api_key) == target
    else:
        assert rotatable
        assert made.scopes == old


# ---- Rotate


def test_the_successor_takes_the_terms_and_the_account(office: Office) -> None:
    end = utc_now() + timedelta(days=60)
    old = issue(office, mode="test", scopes=READER, expires_at=end)
    before = utc_now()
    issued = office.service.rotate(old.api_key, None, by=TESTER)
    made = issued.credential
    assert (made.name, made.mode, made.scopes) == (old.name, old.mode, old.scopes)
    assert (made.account_id, made.expires_at) == (old.account_id, end)
    assert made.created_at >= before
    assert KEYS.maker_of(read_secret(issued.secret)) is NEW
    ended = found(office, old.api_key)
    assert ended.rotated_to == made.api_key
    assert ended.expires_at is not None
    assert before + DEFAULT_OVERLAP <= ended.expires_at <= utc_now() + DEFAULT_OVERLAP
    assert [lookup for lookup, _ in office.seen] == [lookup_key(made.api_key), old.lookup]


@pytest.mark.parametrize("own", [None, timedelta(minutes=1), timedelta(days=365)])
@pytest.mark.parametrize("overlap", [timedelta(0), HOUR, timedelta(days=30)])
def test_the_old_key_expires_at_the_earlier_of_the_two(
    office: Office, own: timedelta | None, overlap: timedelta
) -> None:
    end = None if own is None else utc_now() + own
    old = issue(office, expires_at=end)
    before = utc_now()
    made = office.service.rotate(old.api_key, None, overlap, by=TESTER).credential
    ended = found(office, old.api_key).expires_at
    assert ended is not None
    assert made.expires_at == end
    if end is not None and end < before + overlap:
        assert ended == end
    else:
        assert before + overlap <= ended <= utc_now() + overlap


def test_the_expiry_of_a_rotated_key_cannot_be_postponed(office: Office) -> None:
    old = issue(office)
    office.service.rotate(old.api_key, None, HOUR, by=TESTER)
    end = found(office, old.api_key).expires_at
    assert end is not None
    for later in (None, end + timedelta(milliseconds=1)):
        with pytest.raises(InvalidField) as raised:
            office.service.change(old.api_key, until(later), None, by=TESTER)
        assert raised.value.field == "expires_at"
    assert office.service.change(old.api_key, until(end), None, by=TESTER).expires_at == end
    sooner = end - timedelta(minutes=1)
    assert office.service.change(old.api_key, until(sooner), None, by=TESTER).expires_at == sooner
    assert office.service.change(old.api_key, Change(name="new"), None, by=TESTER).name == "new"
    with pytest.raises(InvalidField):
        office.service.change(old.api_key, until(end), None, by=TESTER)


def test_keys_that_cannot_be_rotated(office: Office) -> None:
    old = issue(office)
    successor = office.service.rotate(old.api_key, None, HOUR, by=TESTER).credential
    with pytest.raises(AlreadyRotated, match=successor.api_key):
        office.service.rotate(old.api_key, None, by=TESTER)
    ended = issue(office)
    successor = office.service.rotate(ended.api_key, None, timedelta(0), by=TESTER).credential
    with pytest.raises(KeyExpired, match=successor.api_key):
        office.service.rotate(ended.api_key, None, by=TESTER)
    expired = issue(office, expires_at=utc_now() + HOUR)
    office.expire(expired.api_key)
    with pytest.raises(KeyExpired):
        office.service.rotate(expired.api_key, None, by=TESTER)


def test_an_expired_or_revoked_successor_can_be_replaced(office: Office) -> None:
    """It gets the original expiry, and the old key no later one."""
    end = utc_now() + timedelta(days=60)
    old = issue(office, expires_at=end)
    first = office.service.rotate(old.api_key, None, HOUR, by=TESTER).credential
    overlap_ends = found(office, old.api_key).expires_at
    office.service.revoke(first.api_key, None, by=TESTER)
    second = office.service.rotate(old.api_key, None, timedelta(days=30), by=TESTER).credential
    assert second.expires_at == end
    assert found(office, old.api_key).rotated_to == second.api_key
    assert found(office, old.api_key).expires_at == overlap_ends
    with pytest.raises(AlreadyRotated, match=second.api_key):
        office.service.rotate(old.api_key, None, by=TESTER)


def test_a_successor_can_be_rotated(office: Office) -> None:
    first = issue(office)
    second = office.service.rotate(first.api_key, None, by=TESTER).credential
    third = office.service.rotate(second.api_key, None, by=TESTER).credential
    assert third.account_id == first.account_id
    assert third.expires_at is None


def test_rotating_gives_no_later_expiry_than_the_callers(office: Office) -> None:
    end = utc_now() + DAY
    who = office.caller(expires_at=end)
    for own in (None, end + DAY):
        old = issue(office, expires_at=own)
        with pytest.raises(InsufficientScope):
            office.service.rotate(old.api_key, who, by=TESTER)
        assert found(office, old.api_key) == old
    fits = issue(office, expires_at=end)
    assert office.service.rotate(fits.api_key, who, by=TESTER).credential.expires_at == end


def test_a_key_rotates_itself_and_retries(office: Office) -> None:
    """After a lost response, a retry returns the successor, although the old key expires sooner."""
    old = issue(office)
    successor = office.service.rotate(old.api_key, old.principal(), HOUR, by=TESTER).credential
    now_itself: Principal = found(office, old.api_key).principal()
    with pytest.raises(AlreadyRotated, match=successor.api_key):
        office.service.rotate(old.api_key, now_itself, by=TESTER)


# ---- Failures of the store


def test_a_change_of_unknown_outcome_invalidates_and_is_not_marked(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = issue(office)
    noted: list[int] = []
    publisher = Publisher(office.store.audit, office._invalidate, noted.append)
    service = CredentialService(office.store, KEYS, publisher)
    office.lose_answers(monkeypatch)
    with pytest.raises(StoreError):
        service.change(old.api_key, Change(scopes=READER), None, by=TESTER)
    with pytest.raises(StoreError):
        service.rotate(old.api_key, None, by=TESTER)
    assert [lookup for lookup, _ in office.seen].count(old.lookup) == 2
    assert noted == []


def test_each_row_of_the_log_is_marked_after_its_invalidation(office: Office) -> None:
    events: list[object] = []
    publisher = Publisher(office.store.audit, events.append, events.append)
    service = CredentialService(office.store, KEYS, publisher)
    made = service.issue(name="x", caller=None, by=TESTER).credential
    service.change(made.api_key, Change(name="y"), None, by=TESTER)
    successor = service.rotate(made.api_key, None, by=TESTER).credential
    service.revoke(made.api_key, None, by=TESTER)
    assert events == [
        *(made.lookup, 1),
        *(made.lookup, 2),
        *(successor.lookup, made.lookup, 3, 4),
        *(made.lookup, 5),
    ]
    assert [row.lookup for row in office.store.invalidations.after(0)] == [
        *(made.lookup, made.lookup, successor.lookup, made.lookup, made.lookup)
    ]


def test_full_access_changes_everything(office: Office) -> None:
    old = issue(office, scopes=READER)
    changed = office.service.change(
        old.api_key, Change(scopes=FULL_ACCESS), office.caller(), by=TESTER
    )
    assert changed.scopes == FULL_ACCESS
