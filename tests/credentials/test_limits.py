"""The rules of limits: the callers that set them, sharing, and invalidation by changes."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from latchkey.credentials.account_service import AccountService
from latchkey.credentials.accounts import AccountChange
from latchkey.credentials.audit import AuditFilter
from latchkey.credentials.limit_service import LimitService
from latchkey.credentials.limits import AppliedLimits, Limit, quota_limit, rate_limit
from latchkey.credentials.models import Change, Credential, Principal
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.scopes import FULL_ACCESS
from latchkey.credentials.service import CredentialService
from latchkey.credentials.times import utc_now
from latchkey.errors import CredentialNotFound, InsufficientScope, InvalidField
from latchkey.store.memory.state import INSTANCE, MemoryDatabase
from latchkey.store.memory.store import open_memory_store
from tests.support.audited import TESTER, new_seal
from tests.support.credentials.office import KEYS

HUNDRED = rate_limit("100/minute")
MONTHLY = quota_limit("monthly", 1000, "month")
PREPAID = quota_limit("prepaid", 500, "total")
SETS_LIMITS = frozenset({"*", "accounts:write"})
SEGMENT = "5" * 32


class Firm:
    """The services over a store in memory, and the lookup keys that were invalidated."""

    def __init__(self, directory: Path, *, has_default: bool = False) -> None:
        self.store = open_memory_store(MemoryDatabase(), new_seal(directory / "latchkey.db"))
        self.invalidated: list[str] = []
        publisher = Publisher(self.store.audit, self.invalidated.append)
        self.keys = CredentialService(self.store, KEYS, publisher, has_default_limit=has_default)
        self.accounts = AccountService(self.store.accounts, publisher)
        self.renewing = LimitService(self.store, publisher)

    def key(self, caller: Credential | None = None, **terms: Any) -> Credential:
        by = None if caller is None else caller.principal()
        return self.keys.issue(name="key", caller=by, by=TESTER, **terms).credential

    def now(self, credential: Credential) -> Credential:
        found = self.store.find(credential.api_key)
        assert found is not None
        return found

    def applied(self, credential: Credential) -> AppliedLimits:
        verifier = self.store.verifier(credential.api_key)
        assert verifier is not None
        applied = self.now(credential).applied_limits
        assert verifier.limits in (None, applied)
        if verifier.limits is None:
            assert applied == ((), (), credential.id)
        return applied

    def limits(self, credential: Credential) -> tuple[Limit, ...]:
        return tuple(stored.limit for stored in self.applied(credential).own)

    def set(
        self, credential: Credential, *limits: Limit, caller: Principal | None = None, **terms: Any
    ) -> Credential:
        change = Change(limits=limits, **terms)
        return self.keys.change(credential.api_key, change, caller, by=TESTER)

    def spend(self, credential: Credential, cost: int) -> int:
        """Reserve units of the last quota of a key; returns how many are used then."""
        number = self.applied(credential).own[-1].id
        reservation = self.store.limits.reserve(number, SEGMENT, cost, utc_now())
        assert reservation is not None
        return reservation.used

    def last_detail(self) -> Any:
        row = next(self.store.audit.newest(AuditFilter(), 1))
        return json.loads(row.detail)


@pytest.fixture
def firm(tmp_path: Path) -> Firm:
    return Firm(tmp_path)


@pytest.fixture
def firm_with_default(tmp_path: Path) -> Firm:
    return Firm(tmp_path, has_default=True)


def test_the_operator_sets_limits(firm: Firm) -> None:
    made = firm.key(limits=[HUNDRED, MONTHLY])
    assert firm.limits(made) == (HUNDRED, MONTHLY)
    assert firm.applied(made).shared_from == made.id
    assert made.limits_of is None
    assert firm.applied(firm.key()) == ((), (), made.id + 1)
    assert firm.limits(firm.set(made, MONTHLY)) == (MONTHLY,)
    assert firm.limits(firm.set(made)) == ()


@pytest.mark.parametrize(
    "limits",
    [
        [HUNDRED, quota_limit("default", 5, "day")],
        [rate_limit("1/second", f"n{number}") for number in range(5)],
    ],
)
def test_limits_have_distinct_names_and_are_at_most_four(firm: Firm, limits: list[Limit]) -> None:
    made = firm.key(limits=[HUNDRED])
    with pytest.raises(InvalidField):
        firm.key(limits=limits)
    with pytest.raises(InvalidField):
        firm.set(made, *limits)
    with pytest.raises(InvalidField):
        firm.accounts.create(name="x", limits=limits, caller=None, by=TESTER)
    with pytest.raises(InvalidField):
        firm.accounts.change(INSTANCE.id, AccountChange(limits=tuple(limits)), None, by=TESTER)
    assert firm.limits(made) == (HUNDRED,)


def test_limits_need_a_scope(firm: Firm) -> None:
    plain = firm.key(scopes=FULL_ACCESS)
    target = firm.key(limits=[HUNDRED])
    for limits in ((), (rate_limit("1000/second"),)):
        with pytest.raises(InsufficientScope) as refused:
            firm.key(plain, limits=limits)
        assert refused.value.scope == "accounts:write"
        for of in (target, plain):
            with pytest.raises(InsufficientScope) as refused:
                firm.set(of, *limits, caller=plain.principal())
            assert refused.value.scope == "accounts:write"
    # Other terms do not need it.
    renamed = firm.keys.change(target.api_key, Change(name="new"), plain.principal(), by=TESTER)
    assert (renamed.name, firm.limits(renamed)) == ("new", (HUNDRED,))


def test_the_scope_is_that_of_the_key_at_the_time_of_the_change(firm: Firm) -> None:
    setter = firm.key(scopes=SETS_LIMITS)
    as_authenticated = setter.principal()
    target = firm.key(limits=[HUNDRED])
    narrowed = Change(scopes=frozenset({"*"}))
    firm.keys.change(setter.api_key, narrowed, None, by=TESTER)
    with pytest.raises(InsufficientScope):
        firm.set(target, caller=as_authenticated)
    with pytest.raises(InsufficientScope):
        firm.key(setter, limits=[])


def test_a_key_with_the_scope_sets_limits(firm: Firm) -> None:
    setter = firm.key(scopes=SETS_LIMITS, limits=[HUNDRED])
    made = firm.key(setter, scopes=FULL_ACCESS, limits=[MONTHLY])
    assert (firm.limits(made), made.limits_of) == ((MONTHLY,), None)
    unlimited = firm.key(setter, scopes=FULL_ACCESS)
    assert firm.applied(unlimited) == ((), (), unlimited.id)
    assert firm.limits(firm.set(made, HUNDRED, caller=setter.principal())) == (HUNDRED,)


def test_keys_of_a_limited_key_share_its_limits(firm: Firm) -> None:
    parent = firm.key(limits=[MONTHLY])
    child = firm.key(parent)
    grandchild = firm.key(child)
    for one in (parent, child, grandchild):
        assert firm.applied(one) == firm.applied(parent)
        assert firm.applied(one).shared_from == parent.id
    assert (child.limits_of, grandchild.limits_of) == (parent.id, parent.id)
    assert firm.spend(parent, 400) == 400
    assert firm.spend(grandchild, 500) >= 500
    # The limits of the parent are those of all.
    firm.set(parent, HUNDRED)
    assert firm.limits(grandchild) == firm.limits(child) == (HUNDRED,)
    firm.set(parent)
    assert firm.applied(grandchild) == ((), (), parent.id)
    # They share also what the parent gets later.
    assert firm.key(grandchild).limits_of == parent.id


def test_keys_of_an_unlimited_key_have_no_limits(firm: Firm) -> None:
    parent = firm.key()
    child = firm.key(parent)
    assert child.limits_of is None
    firm.set(parent, HUNDRED)
    assert firm.limits(child) == ()


def test_with_a_default_limit_every_key_is_limited(firm_with_default: Firm) -> None:
    firm = firm_with_default
    parent = firm.key()
    child, grandchild = (made := firm.key(parent)), firm.key(made)
    assert firm.applied(child) == firm.applied(grandchild) == ((), (), parent.id)
    # The operator, and a key that sets limits, make keys with a state of their own.
    setter = firm.key(scopes=SETS_LIMITS)
    for made in (firm.key(), firm.key(setter, scopes=FULL_ACCESS)):
        assert firm.applied(made).shared_from == made.id


def test_both_keys_of_a_rotation_share_their_limits(firm: Firm) -> None:
    first = firm.key(limits=[MONTHLY])
    child = firm.key(first)
    for old in (first, child):
        by = old.principal()
        successor = firm.keys.rotate(old.api_key, by, timedelta(hours=1), by=TESTER).credential
        assert successor.limits_of == first.id
        assert firm.applied(successor) == firm.applied(first)
        again = firm.keys.rotate(successor.api_key, None, timedelta(0), by=TESTER).credential
        assert firm.applied(again) == firm.applied(first)
    # Also if it has no limits: it may get the default limit.
    plain = firm.key()
    successor = firm.keys.rotate(plain.api_key, None, timedelta(0), by=TESTER).credential
    assert firm.applied(successor) == ((), (), plain.id)
    # A key that sets limits does not get more by a rotation.
    setter = firm.key(scopes=SETS_LIMITS, limits=[HUNDRED])
    by = setter.principal()
    successor = firm.keys.rotate(setter.api_key, by, timedelta(0), by=TESTER).credential
    assert firm.applied(successor) == firm.applied(setter)


def test_setting_limits_detaches_a_key(firm: Firm) -> None:
    parent = firm.key(limits=[MONTHLY])
    child, other = firm.key(parent), firm.key(parent)
    firm.spend(parent, 600)
    detached = firm.set(child, MONTHLY)
    assert detached.limits_of is None
    assert firm.limits(child) == (MONTHLY,)
    assert firm.applied(child).shared_from == child.id
    assert firm.spend(child, 100) == 100
    assert firm.limits(other) == firm.limits(parent) == (MONTHLY,)
    assert firm.applied(other) == firm.applied(parent)
    assert firm.key(child).limits_of == child.id
    # Detached without limits, it has none.
    assert firm.applied(firm.set(other)) == ((), (), other.id)


def test_a_limit_that_is_added_again_keeps_its_state(firm: Firm) -> None:
    made = firm.key(limits=[HUNDRED, MONTHLY])
    before = firm.applied(made).own
    firm.spend(made, 300)
    firm.set(made)
    firm.set(made, MONTHLY, HUNDRED)
    assert sorted(firm.applied(made).own, key=lambda one: one.id) == list(before)
    firm.set(made, MONTHLY)
    assert firm.spend(made, 310) == 310
    # Another quota of this name counts what was spent.
    firm.set(made, quota_limit("monthly", 2000, "month"))
    changed = firm.applied(made).own[0]
    assert changed.id == before[1].id
    assert changed.generation > before[1].generation
    assert firm.spend(made, 100) >= 410


def test_a_quota_without_an_end_is_set_anew(firm: Firm) -> None:
    made = firm.key(limits=[PREPAID])
    assert firm.spend(made, 400) == 400
    firm.set(made, PREPAID, keeps_totals=True)
    assert firm.spend(made, 450) == 450
    before = firm.applied(made).own[0]
    firm.set(made, PREPAID)
    assert firm.applied(made).own[0].generation > before.generation
    assert firm.spend(made, 450) == 450
    firm.set(made, quota_limit("prepaid", 600, "total"), keeps_totals=True)
    assert firm.spend(made, 100) >= 550


def test_quotas_are_renewed_for_all_keys_that_share_them(firm: Firm) -> None:
    parent = firm.key(limits=[HUNDRED, MONTHLY])
    child = firm.key(parent)
    firm.spend(parent, 900)
    firm.keys.revoke(parent.api_key, None, by=TESTER)
    firm.invalidated.clear()
    firm.renewing.reset_key(child.api_key, by=TESTER)
    assert firm.spend(child, 5) < 900
    assert firm.applied(child) == firm.applied(parent)
    assert set(firm.invalidated) == {child.lookup, INSTANCE.id}
    assert firm.last_detail() == {"renewed": ["default", "monthly"]}
    for names in (["unknown"], ["monthly", "unknown"], []):
        with pytest.raises(InvalidField):
            firm.renewing.reset_key(child.api_key, names, by=TESTER)
    with pytest.raises(CredentialNotFound):
        firm.renewing.reset_key(parent.api_key, by=TESTER)
    with pytest.raises(InvalidField):
        firm.renewing.reset_key(firm.key().api_key, by=TESTER)


def test_a_reset_of_a_rate_is_in_the_audit_log(firm: Firm) -> None:
    key = firm.key(limits=[HUNDRED])
    firm.renewing.reset_key(key.api_key, by=TESTER)
    assert firm.last_detail() == {"renewed": ["default"]}
    account = firm.accounts.create(name="customer", limits=[HUNDRED], caller=None, by=TESTER)
    firm.invalidated.clear()
    firm.renewing.reset_account(account.id, by=TESTER)
    assert firm.last_detail() == {"renewed": ["default"]}
    assert firm.invalidated == [account.id]


def test_the_keys_that_share_limits(firm: Firm) -> None:
    parent = firm.key(limits=[HUNDRED])
    assert firm.renewing.sharing(parent).total == 0
    children = [firm.key(parent) for _ in range(7)]
    firm.keys.revoke(children[0].api_key, None, by=TESTER)
    found = firm.renewing.sharing(parent)
    assert found.total == 6
    assert {one.id for one in found.first} < {one.id for one in children[1:]}
    found = firm.renewing.sharing(children[1])
    assert (found.total, found.first[0].id, len(found.first)) == (6, parent.id, 5)
    assert children[1].id not in {one.id for one in found.first}


def test_a_change_of_shared_limits_invalidates_all_keys_of_the_account(firm: Firm) -> None:
    parent = firm.key(limits=[MONTHLY])
    firm.invalidated.clear()
    firm.set(parent, HUNDRED)
    assert firm.invalidated == [parent.lookup]
    child = firm.key(parent)
    for of, expected in ((parent, [parent.lookup, INSTANCE.id]), (child, [child.lookup])):
        firm.invalidated.clear()
        firm.set(of, MONTHLY)
        assert firm.invalidated == expected
    firm.invalidated.clear()
    firm.keys.change(parent.api_key, Change(name="new"), None, by=TESTER)
    assert firm.invalidated == [parent.lookup]


def test_accounts_have_limits_in_each_mode(firm: Firm) -> None:
    account = firm.accounts.create(name="customer", limits=[MONTHLY], caller=None, by=TESTER)
    terms: Any = {"account": account.id, "scopes": frozenset({"orders:read"})}
    live = firm.key(**terms)
    test = firm.key(mode="test", limits=[HUNDRED], **terms)
    assert account.limits.definitions == (MONTHLY,)
    of_live, of_test = (firm.applied(one).account for one in (live, test))
    assert [one.limit for one in of_live] == [one.limit for one in of_test] == [MONTHLY]
    assert of_live[0].id != of_test[0].id
    assert {firm.applied(test).own[0].id}.isdisjoint({of_live[0].id, of_test[0].id})
    reserve = firm.store.limits.reserve
    reserve(of_live[0].id, SEGMENT, 900, utc_now())
    used = {
        number: one.used
        for number, one in firm.store.limits.states(
            [of_live[0].id, of_test[0].id], utc_now()
        ).items()
    }
    assert used == {of_live[0].id: 900, of_test[0].id: 0}
    firm.invalidated.clear()
    firm.renewing.reset_account(account.id, ["monthly"], by=TESTER)
    assert firm.invalidated == [account.id]
    assert firm.last_detail() == {"renewed": ["monthly"]}
    renewed = firm.applied(live).account[0]
    assert renewed.generation > of_live[0].generation
    state = firm.store.limits.states([renewed.id], utc_now())[renewed.id]
    assert (state.used, state.generation) == (0, renewed.generation)
    with pytest.raises(InvalidField):
        firm.renewing.reset_account(account.id, ["other"], by=TESTER)
    firm.accounts.change(account.id, AccountChange(limits=()), None, by=TESTER)
    assert firm.applied(live).account == firm.applied(test).account == ()
    # Other changes keep them.
    firm.accounts.change(account.id, AccountChange(limits=(HUNDRED,)), None, by=TESTER)
    firm.accounts.change(account.id, AccountChange(name="other"), None, by=TESTER)
    assert firm.accounts.get(account.id).limits.definitions == (HUNDRED,)


def test_the_audit_log_has_the_limits(firm: Firm) -> None:
    account = firm.accounts.create(name="customer", limits=[MONTHLY], caller=None, by=TESTER)
    assert firm.last_detail()["limits"] == [MONTHLY.to_json()]
    firm.accounts.change(account.id, AccountChange(limits=(HUNDRED,)), None, by=TESTER)
    assert firm.last_detail() == {"limits": [[MONTHLY.to_json()], [HUNDRED.to_json()]]}
    parent = firm.key(limits=[HUNDRED])
    assert firm.last_detail()["limits"] == [HUNDRED.to_json()]
    child = firm.key(parent)
    assert firm.last_detail()["limits_of"] == parent.api_key
    firm.set(child, MONTHLY)
    assert firm.last_detail() == {
        "limits": [None, [MONTHLY.to_json()]],
        "limits_of": [parent.api_key, None],
    }
