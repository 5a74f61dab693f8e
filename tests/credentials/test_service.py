"""The operations on credentials with a real SQLite store: permissions, and the order of effects.

Every change commits, then invalidates, then answers. A change that was already made, or whose
outcome is unknown, invalidates, too.
"""

from __future__ import annotations

import itertools

import pytest

from latchkey.credentials.derivation import DerivationKey
from latchkey.credentials.models import MODES, Credential, Mode
from latchkey.credentials.scopes import FULL_ACCESS
from latchkey.credentials.times import utc_now
from latchkey.credentials.tokens import hash_secret, lookup_key, new_api_key
from latchkey.errors import (
    CredentialNotFound,
    DuplicateApiKey,
    InsufficientScope,
    LatchkeyError,
    NotDerived,
    StoreError,
)
from tests.support.audited import TESTER
from tests.support.credentials import reference
from tests.support.credentials.office import NEW, OLD, OUTSIDER, RETIRED, Office, derived

# ---- Register


@pytest.mark.parametrize("maker", [NEW, OLD])
@pytest.mark.parametrize("mode", ["live", "test"])
def test_register_stores_a_pair_made_with_a_current_key(
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


def test_register_answers_the_same_for_a_mistyped_secret(office: Office) -> None:
    """It has the right shape but a wrong checksum, or a number that is too large for its field."""
    api_key, secret = derived(NEW)
    mistyped = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    too_large = reference.with_checksum(secret[:30] + "z" * 43)
    for wrong in (mistyped, too_large):
        with pytest.raises(NotDerived):
            office.service.register(api_key, wrong, None, by=TESTER)


def test_not_derived_takes_precedence_over_duplicate(office: Office) -> None:
    """A caller without proof of possession does not learn that the key exists."""
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


def test_no_error_repeats_a_secret(office: Office) -> None:
    api_key, secret = derived(OUTSIDER)
    good_key, good_secret = derived(NEW)
    office.service.register(good_key, good_secret, None, by=TESTER)
    for key, presented in ((api_key, secret), (good_key, good_secret)):
        with pytest.raises(LatchkeyError) as raised:
            office.service.register(key, presented, None, by=TESTER)
        assert presented not in f"{raised.value!r} {raised.value}"


# ---- The order: commit, invalidate, answer


def test_register_invalidates_after_the_commit(office: Office) -> None:
    api_key, secret = derived(NEW)
    office.service.register(api_key, secret, None, by=TESTER)
    assert office.seen == [(lookup_key(api_key), (api_key, None))]


def test_a_duplicate_invalidates_too(office: Office) -> None:
    """The first call may have died between its commit and its invalidation."""
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
    office.service.revoke(api_key, office.caller(), by=TESTER)
    [(lookup, row)] = office.seen
    assert lookup == lookup_key(api_key)
    assert row is not None
    assert row[1] is not None


def test_revoking_a_revoked_key_invalidates_too(office: Office) -> None:
    api_key = office.service.issue(name="new", caller=None, by=TESTER).credential.api_key
    office.service.revoke(api_key, office.caller(), by=TESTER)
    first = office.service.get(api_key, None).revoked_at
    office.seen.clear()
    with pytest.raises(CredentialNotFound):
        office.service.revoke(api_key, office.caller(), by=TESTER)
    assert [lookup for lookup, _ in office.seen] == [lookup_key(api_key)]
    # The time of the revocation is that of the first one.
    assert office.service.get(api_key, None).revoked_at == first


def test_a_change_of_unknown_outcome_invalidates_too(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    api_key = office.service.issue(name="new", caller=None, by=TESTER).credential.api_key
    office.seen.clear()
    office.lose_answers(monkeypatch)
    with pytest.raises(StoreError):
        office.service.revoke(api_key, None, by=TESTER)
    registered, secret = derived(NEW)
    with pytest.raises(StoreError):
        office.service.register(registered, secret, None, by=TESTER)
    assert [lookup for lookup, _ in office.seen] == [lookup_key(api_key), lookup_key(registered)]
    assert all(row is not None for _, row in office.seen)


def test_a_refused_change_does_not_invalidate(office: Office) -> None:
    api_key, secret = derived(OUTSIDER)
    with pytest.raises(NotDerived):
        office.service.register(api_key, secret, None, by=TESTER)
    with pytest.raises(InsufficientScope):
        office.service.issue(
            name="more",
            caller=office.caller(frozenset({"account:read"})),
            scopes=frozenset({"*"}),
            by=TESTER,
        )
    assert office.seen == []


# ---- Revoke, find, list


def test_revoke_is_limited_to_the_callers_mode(office: Office) -> None:
    api_key = office.service.issue(
        name="new", caller=None, mode="test", by=TESTER
    ).credential.api_key
    with pytest.raises(CredentialNotFound):
        office.service.revoke(api_key, office.caller(), by=TESTER)
    assert office.service.get(api_key, office.caller(mode="test")).revoked_at is None
    with pytest.raises(CredentialNotFound):
        office.service.get(api_key, office.caller())
    office.service.revoke(api_key, office.caller(mode="test"), by=TESTER)
    assert office.service.get(api_key, None).revoked_at is not None


def test_an_unknown_key_is_not_found(office: Office) -> None:
    with pytest.raises(CredentialNotFound):
        office.service.get(new_api_key("live"), None)
    with pytest.raises(CredentialNotFound):
        office.service.revoke(new_api_key("live"), None, by=TESTER)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 100])
def test_pages_together_have_all_credentials_newest_first(office: Office, limit: int) -> None:
    callers = {mode: office.caller(mode=mode) for mode in MODES}
    before_all = [office.service.get(caller.api_key, None) for caller in callers.values()]
    made = before_all + [
        office.service.issue(name=f"{number}", caller=None, mode=mode, by=TESTER).credential
        for number, mode in zip(range(14), itertools.cycle(MODES), strict=False)
    ]
    for mode in (*MODES, None):
        caller = None if mode is None else callers[mode]
        wanted = [one for one in reversed(made) if mode in (None, one.mode)]
        got: list[Credential] = []
        before: int | None = None
        while True:
            page = office.service.page(caller, limit, before)
            assert len(page.credentials) <= limit
            got += page.credentials
            before = page.next_before
            if before is None:
                break
        assert got == wanted
