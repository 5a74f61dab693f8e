"""The audit log: a row for each change, the chain, filters, and the head."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from latchkey.credentials.audit import (
    NO_MAC,
    NO_ROWS,
    Action,
    Actor,
    AuditEvent,
    AuditFilter,
    AuditRow,
    Head,
)
from latchkey.credentials.models import Change, Tally
from latchkey.credentials.publishing import Publisher
from latchkey.errors import CredentialNotFound, StoreError
from latchkey.store.audit_head import Seal
from latchkey.store.protocols import Store
from tests.support.audited import (
    AUDIT_KEY,
    TESTER,
    add,
    change,
    record,
    result_of,
    revoke,
)
from tests.support.store.new_credentials import NOW, NewStore, new_credential

# ---- Rows


def entries(store: Store) -> list[AuditRow]:
    return list(store.audit.entries())


def test_each_change_records_its_actor_action_and_subject(store: Store) -> None:
    client = Actor.key("ak_live_x", "2001:db8::1")
    end = NOW + timedelta(days=1)
    one = add(
        store,
        new_credential(expires_at=end),
        by=Actor.derivation("192.0.2.7"),
        action=Action.KEY_REGISTER,
    )
    later = NOW + timedelta(minutes=1)
    terms = Change(name="new", scopes=frozenset({"account:read", "*:read"}))
    change(store, one.api_key, later, lambda _: terms, by=client)
    revoke(store, one.api_key, later)
    rows = entries(store)
    assert [row.number for row in rows] == [1, 2, 3]
    assert [(row.action, row.actor_kind, row.actor, row.address) for row in rows] == [
        ("key.register", "derivation", None, "192.0.2.7"),
        ("key.change", "key", "ak_live_x", "2001:db8::1"),
        ("key.revoke", "command line", "tester", None),
    ]
    assert {row.subject for row in rows} == {one.api_key}
    assert rows[1].at - rows[0].at == 60_000
    assert json.loads(rows[0].detail) == {
        "name": "test",
        "mode": "live",
        "scopes": ["*"],
        "derivation_id": one.derivation_id,
        "expires_at": round(end.timestamp() * 1000),
    }
    assert json.loads(rows[1].detail) == {
        "name": ["test", "new"],
        "scopes": [["*"], ["*:read", "account:read"]],
    }
    assert rows[2].detail == "{}"


def test_an_unchanged_state_is_not_recorded(store: Store) -> None:
    added = add(store, new_credential())
    revoke(store, added.api_key, NOW)
    with pytest.raises(CredentialNotFound):
        revoke(store, added.api_key, NOW)
    with pytest.raises(CredentialNotFound):
        change(store, added.api_key, NOW, lambda _: Change())

    def refuse(_: object) -> Change:
        raise LookupError

    other = add(store, new_credential())
    with pytest.raises(LookupError):
        change(store, other.api_key, NOW, refuse)
    assert [row.number for row in entries(store)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (AuditFilter(), [4, 3, 2, 1]),
        (AuditFilter(subject="ak_1"), [2, 1]),
        (AuditFilter(actor="ann"), [3, 1]),
        (AuditFilter(actor="command line"), [4, 2]),
        (AuditFilter(action="key.revoke"), [4, 2]),
        (AuditFilter(since=NOW + timedelta(hours=3)), [4, 3]),
        (AuditFilter(subject="ak_1", actor="ann"), [1]),
    ],
)
def test_filters(store: Store, wanted: AuditFilter, numbers: list[int]) -> None:
    ann = Actor.administrator("ann", None)
    for hour, (action, actor, subject) in enumerate(
        [
            (Action.KEY_ISSUE, ann, "ak_1"),
            (Action.KEY_REVOKE, TESTER, "ak_1"),
            (Action.KEY_ISSUE, ann, "ak_2"),
            (Action.KEY_REVOKE, TESTER, "ak_2"),
        ],
        1,
    ):
        record(store, AuditEvent(NOW + timedelta(hours=hour), action, actor, subject))
    assert [row.number for row in store.audit.page(wanted, 10)] == numbers
    assert [row.number for row in store.audit.entries(wanted)] == numbers[::-1]
    assert [row.number for row in store.audit.page(wanted, 1)] == numbers[:1]
    before = store.audit.page(wanted, 10, before=numbers[0])
    assert [row.number for row in before] == numbers[1:]


# ---- Tampering


# ---- The chain and its head


def test_the_chain_covers_the_stored_values(store: Store, seal: Seal) -> None:
    for number in range(3):
        record(store, AuditEvent(NOW, Action.ADMIN_SIGN_IN, TESTER, f"admin {number}"))
    rows = entries(store)
    former = NO_MAC
    for row in rows:
        assert row.mac == AUDIT_KEY.mac(former, row.fields)
        former = row.mac
    last = Head(3, rows[-1].mac)
    assert store.audit.last() == seal.head.read() == last
    found = store.audit.verify()
    assert (found.rows, found.last, found.findings) == (3, last, [])
    assert store.audit.behind_head() is None


def test_a_log_without_rows(store: Store) -> None:
    assert store.audit.last() == NO_ROWS
    assert entries(store) == []
    assert store.audit.verify().findings == []
    assert store.audit.behind_head() is None
    assert (store.audit.count(AuditFilter()), list(store.audit.newest(AuditFilter(), None))) == (
        0,
        [],
    )


def test_an_unreadable_head_is_reported(store: Store, seal: Seal) -> None:
    record(store, AuditEvent(NOW, Action.ADMIN_SIGN_IN, TESTER))
    seal.head.path.write_text("nothing of ours")
    assert "is malformed" in (store.audit.behind_head() or "")
    seal.head.path.unlink()
    assert "is missing" in (store.audit.behind_head() or "")


def test_a_log_without_the_row_of_the_head_is_behind_it(store: Store, seal: Seal) -> None:
    record(store, AuditEvent(NOW, Action.ADMIN_SIGN_IN, TESTER))
    seal.head.replace(Head(2, "ab" * 32))
    assert "lacks row 2" in (store.audit.behind_head() or "")
    assert [one.problem for one in store.audit.verify().findings] == ["cut off"]
    # Rows that are added later do not hide it.
    record(store, AuditEvent(NOW, Action.ADMIN_SIGN_IN, TESTER))
    assert [one.problem for one in store.audit.verify().findings] == ["head"]


def test_a_new_end_replaces_any_head(store: Store, seal: Seal) -> None:
    record(store, AuditEvent(NOW, Action.ADMIN_SIGN_IN, TESTER))
    seal.head.replace(Head(9, "ab" * 32))
    seen: list[int] = []

    def decide() -> AuditEvent:
        # It may read the log.
        seen.extend(row.number for row in store.audit.entries())
        return AuditEvent(NOW, Action.AUDIT_ACCEPT, TESTER)

    outcome = store.audit.record_new_end(decide)
    assert outcome.publication.replaces_head
    head = Publisher(store.audit).publish(outcome)
    assert seen == [1]
    assert head == store.audit.last() == seal.head.read()
    assert store.audit.verify().findings == []


def test_the_head_follows_the_last_published_row(store: Store, seal: Seal) -> None:
    first, second = (
        store.audit.record(AuditEvent(NOW, Action.ADMIN_SIGN_IN, TESTER)) for _ in range(2)
    )
    publisher = Publisher(store.audit)
    publisher.publish(second)
    publisher.publish(first)
    assert seal.head.read() == second.publication.head
    assert second.publication.head is not None
    assert second.publication.head.number == 2


def test_a_store_without_the_key_is_read_only(store: Store, new_store: NewStore) -> None:
    added = add(store, new_credential())
    unsealed = new_store(sealed=False)
    acts: list[Callable[[], object]] = [
        lambda: add(unsealed, new_credential()),
        lambda: revoke(unsealed, added.api_key, NOW),
        lambda: record(unsealed, AuditEvent(NOW, Action.ADMIN_SIGN_IN, TESTER)),
        unsealed.audit.verify,
    ]
    for act in acts:
        with pytest.raises(StoreError, match="key of the audit log"):
            act()
    assert unsealed.find(added.api_key) == added
    assert list(unsealed.audit.entries()) == entries(store)
    assert unsealed.audit.behind_head() is None
    # Changes that are not recorded need no key.
    unsealed.usage.flush("1" * 32, [Tally(added.id, 1)], NOW)
    assert unsealed.invalidations.prune(NOW, below=9) == 0


def test_a_log_of_many_rows_is_read_completely(store: Store) -> None:
    count = 1_050
    for number in range(count):
        result_of(store.audit.record(AuditEvent(NOW, Action.ADMIN_SIGN_IN, TESTER, str(number))))
    rows = store.audit.entries()
    first = next(rows)
    result_of(store.audit.record(AuditEvent(NOW, Action.ADMIN_SIGN_OUT, TESTER, "meanwhile")))
    assert [first.number, *(row.number for row in rows)] == list(range(1, count + 2))
    newest = [row.number for row in store.audit.newest(AuditFilter(), None)]
    assert newest == list(range(count + 1, 0, -1))
    assert [row.number for row in store.audit.newest(AuditFilter(), 3)] == newest[:3]
    assert store.audit.count(AuditFilter(subject="meanwhile")) == 1
