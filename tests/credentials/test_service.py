"""The life of credentials over a real SQLite store: what is allowed, and the order of effects.

Every change commits, then invalidates, then answers; what finds the change already made, or does
not know whether it was, invalidates too.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.credentials.audit import Trail
from app.credentials.derivation import DerivationKey, DerivationKeys
from app.credentials.models import MODES, Credential, Mode, NewCredential, Principal
from app.credentials.scopes import FULL_ACCESS, KNOWN_SCOPES, permits
from app.credentials.service import (
    INHERITED,
    CredentialService,
    Inherited,
    hash_secret,
    utc_now,
)
from app.credentials.tokens import (
    api_key_from,
    check_api_key,
    lookup_key,
    new_api_key,
    read_secret,
)
from app.errors import (
    CredentialNotFound,
    DuplicateApiKey,
    InsufficientScope,
    InvalidField,
    LatchkeyError,
    NotDerived,
    StoreError,
)
from app.store import Store
from tests.audited import TESTER, new_seal, open_store
from tests.credentials import reference
from tests.database import new_database

NEW, OLD, RETIRED, OUTSIDER = (DerivationKey(bytes([number]) * 32) for number in range(4))
KEYS = DerivationKeys([NEW, OLD], [RETIRED])


class Office:
    """The service over a real store, and a record of each invalidation with what was committed.

    ``seen`` holds, for each invalidation, the key and its row as another connection finds it at
    that very moment: what is not committed yet is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = open_store(new_database(path))
        self.seen: list[tuple[str, tuple[str, int | None] | None]] = []
        self.service = CredentialService(self.store, KEYS, self._invalidate)

    def row(self, lookup: str) -> tuple[str, int | None] | None:
        with closing(sqlite3.connect(self.path)) as connection:
            found: tuple[str, int | None] | None = connection.execute(
                "SELECT api_key, revoked_at FROM credential WHERE api_key = ?", [f"ak_{lookup}"]
            ).fetchone()
            return found

    def _invalidate(self, lookup: str) -> None:
        self.seen.append((lookup, self.row(lookup)))


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path / "latchkey.db")
    yield office
    office.store.close()


def derived(key: DerivationKey, mode: Mode = "live") -> tuple[str, str]:
    api_key = new_api_key(mode)
    return api_key, key.derive(api_key)


def caller(
    scopes: frozenset[str] = FULL_ACCESS,
    mode: Mode = "live",
    expires_at: datetime | None = None,
) -> Principal:
    return Principal(1, "acct_1", new_api_key(mode), mode, "caller", scopes, expires_at)


# ---- Register


@pytest.mark.parametrize("maker", [NEW, OLD])
@pytest.mark.parametrize("mode", ["live", "test"])
def test_register_stores_what_a_current_key_made(
    office: Office, maker: DerivationKey, mode: Mode
) -> None:
    api_key, secret = derived(maker, mode)
    before = utc_now()
    credential = office.service.register(api_key, secret, "vendor's", by=TESTER)
    assert credential == office.store.find(api_key)
    assert credential.secret_hash == hash_secret(secret)
    assert credential.derivation_id == maker.id
    assert (credential.mode, credential.name, credential.scopes) == (mode, "vendor's", FULL_ACCESS)
    assert (credential.expires_at, credential.revoked_at) == (None, None)
    assert before <= credential.created_at <= utc_now()
    assert credential.account_id.startswith("acct_")
    assert len(credential.account_id) == 27


@pytest.mark.parametrize("maker", [RETIRED, OUTSIDER])
def test_register_refuses_other_makers(office: Office, maker: DerivationKey) -> None:
    api_key, secret = derived(maker)
    with pytest.raises(NotDerived):
        office.service.register(api_key, secret, None, by=TESTER)
    assert office.store.find(api_key) is None


def test_register_refuses_halves_that_do_not_belong_together(office: Office) -> None:
    _, secret = derived(NEW)
    api_key, _ = derived(NEW)
    with pytest.raises(NotDerived):
        office.service.register(api_key, secret, None, by=TESTER)
    with pytest.raises(NotDerived):
        office.service.register(f"ak_test{secret[7:30]}", secret, None, by=TESTER)


def test_register_says_the_same_of_a_mistyped_secret(office: Office) -> None:
    """Well-shaped but with a wrong checksum, or too large for its fields."""
    api_key, secret = derived(NEW)
    mistyped = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    too_large = reference.with_checksum(secret[:30] + "z" * 43)
    for wrong in (mistyped, too_large):
        with pytest.raises(NotDerived):
            office.service.register(api_key, wrong, None, by=TESTER)


def test_not_derived_comes_before_duplicate(office: Office) -> None:
    """Who cannot prove possession does not learn that the key exists."""
    api_key, secret = derived(NEW)
    office.service.register(api_key, secret, None, by=TESTER)
    with pytest.raises(NotDerived):
        office.service.register(api_key, OUTSIDER.derive(api_key), None, by=TESTER)
    with pytest.raises(DuplicateApiKey):
        office.service.register(api_key, secret, None, by=TESTER)


def test_a_revoked_key_stays_revoked(office: Office) -> None:
    api_key, secret = derived(NEW)
    office.service.register(api_key, secret, None, by=TESTER)
    office.service.revoke(api_key, None, by=TESTER)
    with pytest.raises(DuplicateApiKey):
        office.service.register(api_key, secret, None, by=TESTER)
    assert office.service.get(api_key, None).status(utc_now()) == "revoked"


# ---- The order: commit, invalidate, answer


def test_register_invalidates_after_the_commit(office: Office) -> None:
    api_key, secret = derived(NEW)
    office.service.register(api_key, secret, None, by=TESTER)
    assert office.seen == [(lookup_key(api_key), (api_key, None))]


def test_a_duplicate_invalidates_too(office: Office) -> None:
    """The row may come from a call that died between its commit and its invalidation."""
    api_key, secret = derived(NEW)
    office.service.register(api_key, secret, None, by=TESTER)
    office.seen.clear()
    with pytest.raises(DuplicateApiKey):
        office.service.register(api_key, secret, None, by=TESTER)
    assert office.seen == [(lookup_key(api_key), (api_key, None))]


def test_issue_invalidates_after_the_commit(office: Office) -> None:
    issued = office.service.issue(name="new", caller=None, by=TESTER)
    api_key = issued.credential.api_key
    assert office.seen == [(lookup_key(api_key), (api_key, None))]


def test_revoke_invalidates_after_the_commit(office: Office) -> None:
    api_key = office.service.issue(name="new", caller=None, by=TESTER).credential.api_key
    office.seen.clear()
    office.service.revoke(api_key, "live", by=TESTER)
    [(lookup, row)] = office.seen
    assert lookup == lookup_key(api_key)
    assert row is not None
    assert row[1] is not None


def test_revoking_what_is_revoked_invalidates_too(office: Office) -> None:
    api_key = office.service.issue(name="new", caller=None, by=TESTER).credential.api_key
    office.service.revoke(api_key, "live", by=TESTER)
    first = office.service.get(api_key, None).revoked_at
    office.seen.clear()
    with pytest.raises(CredentialNotFound):
        office.service.revoke(api_key, "live", by=TESTER)
    assert [lookup for lookup, _ in office.seen] == [lookup_key(api_key)]
    # The moment at which it ended is the first one.
    assert office.service.get(api_key, None).revoked_at == first


class LostAnswerStore(Store):
    """The real store, whose answer is lost after the commit, as when the disk fails then."""

    def add(self, new: NewCredential, trail: Trail) -> Credential:
        super().add(new, trail)
        raise StoreError("the answer is lost")

    def revoke(self, api_key: str, mode: Mode | None, now: datetime, trail: Trail) -> bool:
        super().revoke(api_key, mode, now, trail)
        raise StoreError("the answer is lost")


def test_a_change_of_unknown_outcome_invalidates_too(office: Office) -> None:
    api_key = office.service.issue(name="new", caller=None, by=TESTER).credential.api_key
    office.seen.clear()
    broken = LostAnswerStore(f"sqlite:///{office.path}", seal=new_seal(office.path))
    service = CredentialService(broken, KEYS, office._invalidate)
    with pytest.raises(StoreError):
        service.revoke(api_key, None, by=TESTER)
    registered, secret = derived(NEW)
    with pytest.raises(StoreError):
        service.register(registered, secret, None, by=TESTER)
    broken.close()
    assert [lookup for lookup, _ in office.seen] == [lookup_key(api_key), lookup_key(registered)]
    assert all(row is not None for _, row in office.seen)


def test_nothing_that_was_refused_invalidates(office: Office) -> None:
    api_key, secret = derived(OUTSIDER)
    with pytest.raises(NotDerived):
        office.service.register(api_key, secret, None, by=TESTER)
    with pytest.raises(InsufficientScope):
        office.service.issue(
            name="more",
            caller=caller(frozenset({"account:read"})),
            scopes=frozenset({"*"}),
            by=TESTER,
        )
    assert office.seen == []


# ---- Revoke, find, list


def test_revoke_is_for_the_callers_mode(office: Office) -> None:
    api_key = office.service.issue(
        name="new", caller=None, mode="test", by=TESTER
    ).credential.api_key
    with pytest.raises(CredentialNotFound):
        office.service.revoke(api_key, "live", by=TESTER)
    assert office.service.get(api_key, "test").revoked_at is None
    with pytest.raises(CredentialNotFound):
        office.service.get(api_key, "live")
    office.service.revoke(api_key, "test", by=TESTER)
    assert office.service.get(api_key, None).revoked_at is not None


def test_an_unknown_key_is_not_found(office: Office) -> None:
    with pytest.raises(CredentialNotFound):
        office.service.get(new_api_key("live"), None)
    with pytest.raises(CredentialNotFound):
        office.service.revoke(new_api_key("live"), None, by=TESTER)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 100])
def test_pages_together_are_everything_newest_first(office: Office, limit: int) -> None:
    made = [
        office.service.issue(name=f"{number}", caller=None, mode=mode, by=TESTER).credential
        for number, mode in zip(range(14), itertools.cycle(MODES), strict=False)
    ]
    for mode in ("live", "test", None):
        wanted = [one for one in reversed(made) if mode in (None, one.mode)]
        got: list[Credential] = []
        before: int | None = None
        while True:
            page = office.service.page(mode, limit, before)
            assert len(page.credentials) <= limit
            got += page.credentials
            before = page.next_before
            if before is None:
                break
        assert got == wanted


# ---- Issue


def test_the_operator_has_everything(office: Office) -> None:
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


def test_a_seed_makes_one_key_however_often_it_is_sent(office: Office) -> None:
    def issue(seed: bytes, mode: Mode = "live") -> str:
        issued = office.service.issue(name="x", caller=None, by=TESTER, seed=seed, mode=mode)
        assert check_api_key(issued.credential.api_key) == api_key_from(mode, seed)
        return issued.credential.api_key

    first = issue(b"one")
    with pytest.raises(DuplicateApiKey):
        issue(b"one")
    # It stays used up.
    office.service.revoke(first, None, by=TESTER)
    with pytest.raises(DuplicateApiKey):
        issue(b"one")
    assert len({first, issue(b"two"), issue(b""), issue(b"one", "test")}) == 4


def test_what_is_inherited_is_the_callers_own(office: Office) -> None:
    until = utc_now() + timedelta(hours=1)
    who = caller(frozenset({"account:read", "credentials:write"}), "test", until)
    made = office.service.issue(name="same", caller=who, by=TESTER).credential
    assert (made.mode, made.scopes, made.expires_at) == ("test", who.scopes, until)


def test_no_expiry_is_not_the_same_as_the_callers_own(office: Office) -> None:
    until = utc_now() + timedelta(hours=1)
    with pytest.raises(InsufficientScope):
        office.service.issue(
            name="for ever", caller=caller(expires_at=until), expires_at=None, by=TESTER
        )
    made = office.service.issue(
        name="for ever", caller=caller(), expires_at=None, by=TESTER
    ).credential
    assert made.expires_at is None
    inherited = office.service.issue(
        name="the same", caller=caller(expires_at=until), expires_at=INHERITED, by=TESTER
    ).credential
    assert inherited.expires_at == until


@pytest.mark.parametrize("past", [timedelta(0), timedelta(milliseconds=1), timedelta(days=9000)])
def test_an_expiry_lies_in_the_future(office: Office, past: timedelta) -> None:
    with pytest.raises(InvalidField) as raised:
        office.service.issue(name="late", caller=None, expires_at=utc_now() - past, by=TESTER)
    assert raised.value.field == "expires_at"


def test_no_later_expiry_than_the_callers_own(office: Office) -> None:
    until = utc_now() + timedelta(hours=1)
    millisecond = timedelta(milliseconds=1)
    for allowed in (until, until - millisecond):
        made = office.service.issue(
            name="x", caller=caller(expires_at=until), expires_at=allowed, by=TESTER
        )
        assert made.credential.expires_at == allowed
    with pytest.raises(InsufficientScope) as raised:
        office.service.issue(
            name="x", caller=caller(expires_at=until), expires_at=until + millisecond, by=TESTER
        )
    assert raised.value.scope is None


def test_no_key_of_the_other_mode(office: Office) -> None:
    for own, other in itertools.permutations(MODES):
        with pytest.raises(InsufficientScope):
            office.service.issue(name="x", caller=caller(mode=own), mode=other, by=TESTER)


@given(data=st.data())
@settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_whatever_is_asked_nobody_gets_more_than_they_have(
    office: Office, data: st.DataObject
) -> None:
    now = utc_now()
    some_scopes = st.frozensets(st.sampled_from(KNOWN_SCOPES), min_size=1)
    some_expiry = st.one_of(
        st.none(), st.integers(1, 3).map(lambda days: now + timedelta(days=days))
    )
    who = caller(data.draw(some_scopes), data.draw(st.sampled_from(MODES)), data.draw(some_expiry))
    mode: Mode | Inherited = data.draw(st.sampled_from(("live", "test", INHERITED)))
    scopes: frozenset[str] | Inherited = data.draw(st.one_of(st.just(INHERITED), some_scopes))
    expires_at: datetime | None | Inherited = data.draw(st.one_of(st.just(INHERITED), some_expiry))
    allowed = (
        mode in (INHERITED, who.mode)
        and (scopes is INHERITED or all(permits(who.scopes, scope) for scope in scopes))
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
        own = {"mode": who.mode, "scopes": who.scopes, "expires_at": who.expires_at}
        got = {"mode": made.mode, "scopes": made.scopes, "expires_at": made.expires_at}
        assert got == {
            name: own[name] if value is INHERITED else value for name, value in terms.items()
        }


def test_a_derived_pair_is_stored_nowhere(office: Office) -> None:
    api_key, secret = office.service.derive_pair("test")
    assert KEYS.maker_of(read_secret(secret)) is NEW
    assert read_secret(secret).api_key == api_key
    assert office.store.find(api_key) is None
    assert office.service.register(api_key, secret, None, by=TESTER).mode == "test"


def test_times_are_cut_to_the_stores_millisecond(office: Office) -> None:
    for _ in range(50):
        assert utc_now().microsecond % 1000 == 0
    until = datetime(2199, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)
    issued = office.service.issue(name="late", caller=None, expires_at=until, by=TESTER)
    assert office.store.find(issued.credential.api_key) == replace(
        issued.credential, expires_at=until
    )


def test_no_error_repeats_a_secret(office: Office) -> None:
    api_key, secret = derived(OUTSIDER)
    good_key, good_secret = derived(NEW)
    office.service.register(good_key, good_secret, None, by=TESTER)
    for key, presented in ((api_key, secret), (good_key, good_secret)):
        with pytest.raises(LatchkeyError) as raised:
            office.service.register(key, presented, None, by=TESTER)
        assert presented not in f"{raised.value!r} {raised.value}"
