"""Administrators, their sessions and the set-up link; each change adds a row to the audit log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from latchkey.credentials.administrators import Administrator
from latchkey.credentials.audit import Action, Actor, AuditEvent
from latchkey.store.protocols import Store
from tests.support.audited import result_of
from tests.support.store.new_credentials import NOW, NewStore

HOUR = timedelta(hours=1)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def noted(action: Action, name: str = "ann") -> AuditEvent:
    return AuditEvent(NOW, action, Actor.command_line("tester"), name)


def add(store: Store, name: str = "ann") -> Administrator:
    made = result_of(store.administrators.add(name, "hash", NOW, noted(Action.ADMIN_CREATE, name)))
    assert made is not None
    return made


def begin(store: Store, found: Administrator, token: bytes, moment: datetime = NOW) -> bool:
    return result_of(
        store.administrators.begin_session(
            found,
            token,
            moment,
            oldest=LONG_AGO,
            unseen=LONG_AGO,
            record=noted(Action.ADMIN_SIGN_IN),
        )
    )


def told(store: Store) -> list[tuple[str, str | None]]:
    return [(row.action, row.subject) for row in store.audit.entries()]


# ---- Administrators


def test_an_added_administrator_is_found(store: Store) -> None:
    assert store.administrators.count() == 0
    made = add(store)
    assert (made.name, made.password_hash, made.created_at) == ("ann", "hash", NOW)
    assert (made.disabled_at, made.signed_in_at) == (None, None)
    assert store.administrators.find("ann") == made
    assert store.administrators.find("Ann") is None
    assert store.administrators.count() == 1
    assert told(store) == [("admin.create", "ann")]


def test_a_name_is_taken_once(store: Store) -> None:
    made = add(store)
    again = store.administrators.add("ann", "other", NOW, noted(Action.ADMIN_CREATE))
    assert result_of(again) is None
    assert again.publication.head is None
    assert store.administrators.find("ann") == made
    assert told(store) == [("admin.create", "ann")]


def test_they_are_listed_by_name(store: Store) -> None:
    names = ["dora", "ann", "carl", "bob-2", "bob"]
    for name in names:
        add(store, name)
    assert [one.name for one in store.administrators.by_name()] == sorted(names)
    assert [one.name for one in store.administrators.by_name(2)] == ["ann", "bob"]
    assert list(store.administrators.by_name(0)) == []
    assert store.administrators.count() == 5


def test_removing_an_administrator_ends_the_sessions(store: Store) -> None:
    ann, bob = add(store, "ann"), add(store, "bob")
    assert begin(store, ann, b"a" * 32)
    assert begin(store, bob, b"b" * 32)
    assert result_of(store.administrators.remove("ann", noted(Action.ADMIN_REMOVE)))
    assert not result_of(store.administrators.remove("ann", noted(Action.ADMIN_REMOVE)))
    assert store.administrators.find("ann") is None
    assert store.administrators.session(b"a" * 32) is None
    assert store.administrators.session(b"b" * 32) is not None
    assert told(store)[-1] == ("admin.remove", "ann")
    assert [action for action, _ in told(store)].count("admin.remove") == 1
    # A session must never belong to another administrator.
    assert add(store, "ann").id > bob.id


def test_disabling_an_administrator_ends_the_sessions(store: Store) -> None:
    ann = add(store)
    assert begin(store, ann, b"a" * 32)
    later = NOW + HOUR
    assert result_of(store.administrators.disable("ann", later, noted(Action.ADMIN_DISABLE)))
    found = store.administrators.find("ann")
    assert found is not None
    assert (found.is_enabled, found.disabled_at) == (False, later)
    assert store.administrators.session(b"a" * 32) is None
    assert not begin(store, found, b"b" * 32)
    assert store.administrators.sessions(ann.id) == []
    assert result_of(store.administrators.enable("ann", noted(Action.ADMIN_ENABLE)))
    assert begin(store, found, b"c" * 32)
    for act in (
        store.administrators.disable("nobody", later, noted(Action.ADMIN_DISABLE)),
        store.administrators.enable("nobody", noted(Action.ADMIN_ENABLE)),
    ):
        assert not result_of(act)
        assert act.publication.head is None


def test_a_new_password_ends_the_sessions(store: Store) -> None:
    ann = add(store)
    assert begin(store, ann, b"a" * 32)
    record = noted(Action.ADMIN_PASSWORD)
    assert result_of(store.administrators.set_password(ann.id, "new", record))
    assert not result_of(store.administrators.set_password(ann.id + 1, "new", record))
    assert store.administrators.session(b"a" * 32) is None
    # A sign-in that was checked with the former password is too late.
    assert not begin(store, ann, b"b" * 32)
    found = store.administrators.find("ann")
    assert found is not None
    assert found.password_hash == "new"
    assert begin(store, found, b"b" * 32)


def test_a_hash_is_renewed_unless_the_password_changed(store: Store) -> None:
    ann = add(store)
    store.administrators.renew_hash(ann, "the same, hashed again")
    store.administrators.renew_hash(ann, "too late")
    found = store.administrators.find("ann")
    assert found is not None
    assert found.password_hash == "the same, hashed again"
    assert told(store) == [("admin.create", "ann")]


# ---- Sessions


def test_a_session_is_found_by_its_token(store: Store) -> None:
    ann = add(store)
    assert begin(store, ann, b"a" * 32)
    session = store.administrators.session(b"a" * 32)
    assert session is not None
    assert (session.token_hash, session.created_at, session.seen_at) == (b"a" * 32, NOW, NOW)
    assert session.messages == ()
    assert session.administrator == store.administrators.find("ann")
    assert session.administrator.signed_in_at == NOW
    assert store.administrators.session(b"b" * 32) is None
    assert told(store)[-1] == ("admin.sign_in", "ann")


def test_sessions_of_one_administrator_are_listed_last_seen_first(store: Store) -> None:
    ann, bob = add(store, "ann"), add(store, "bob")
    for number, owner in enumerate((ann, bob, ann, ann)):
        assert begin(store, owner, bytes([number]) * 32, NOW + number * HOUR)
    store.administrators.see_session(bytes([0]) * 32, NOW + 9 * HOUR)
    sessions = store.administrators.sessions(ann.id)
    assert [one.token_hash[0] for one in sessions] == [0, 3, 2]
    assert [one.seen_at for one in sessions] == [NOW + 9 * HOUR, NOW + 3 * HOUR, NOW + 2 * HOUR]


def test_expired_sessions_are_deleted_by_the_next_sign_in(store: Store) -> None:
    ann = add(store)
    for number in range(4):
        assert begin(store, ann, bytes([number]) * 32, NOW + number * HOUR)
    store.administrators.see_session(bytes([1]) * 32, NOW + 3 * HOUR)
    assert result_of(
        store.administrators.begin_session(
            ann,
            b"n" * 32,
            NOW + 4 * HOUR,
            oldest=NOW,
            unseen=NOW + 2 * HOUR,
            record=None,
        )
    )
    left = {one.token_hash[0] for one in store.administrators.sessions(ann.id)}
    # The first began exactly at the bound, and the third was last seen exactly at it.
    assert left == {1, 3, ord("n")}
    assert [action for action, _ in told(store)].count("admin.sign_in") == 4


@pytest.mark.parametrize("messages", [[("success", "Key revoked — ключ")], [("a", "b")] * 3, []])
def test_the_messages_of_the_next_page(store: Store, messages: list[tuple[str, str]]) -> None:
    ann = add(store)
    assert begin(store, ann, b"a" * 32)
    store.administrators.tell(b"a" * 32, [("old", "news")])
    store.administrators.tell(b"a" * 32, messages)
    session = store.administrators.session(b"a" * 32)
    assert session is not None
    assert session.messages == tuple(messages)
    # An ended session gets no messages.
    store.administrators.tell(b"b" * 32, messages)


def test_ending_sessions(store: Store) -> None:
    ann = add(store)
    for number in range(3):
        assert begin(store, ann, bytes([number]) * 32)
    record = noted(Action.ADMIN_SIGN_OUT)
    for _ in range(2):
        result_of(store.administrators.end_session(bytes(32), record))
    assert [action for action, _ in told(store)].count("admin.sign_out") == 1
    everywhere = noted(Action.ADMIN_SIGN_OUT_EVERYWHERE)
    assert result_of(store.administrators.end_sessions(ann.id, everywhere)) == 2
    assert result_of(store.administrators.end_sessions(ann.id, everywhere)) == 0
    assert store.administrators.sessions(ann.id) == []
    assert told(store)[-2:] == [("admin.sign_out_everywhere", "ann")] * 2


def test_events_without_a_change_are_recorded(store: Store) -> None:
    outcome = store.administrators.record(noted(Action.ADMIN_SIGN_IN_REFUSED))
    assert outcome.publication.head == store.audit.last()
    assert told(store) == [("admin.sign_in_refused", "ann")]


# ---- The set-up link


def test_the_link_creates_the_first_administrator_once(store: Store) -> None:
    record = noted(Action.ADMIN_SET_UP)
    assert store.administrators.offer_set_up(b"1" * 32, NOW + HOUR)
    assert store.administrators.offer_set_up(b"2" * 32, NOW + HOUR)
    # The previous link is void, and this one is valid until it expires.
    assert not store.administrators.set_up_is_offered(b"1" * 32, NOW)
    assert store.administrators.set_up_is_offered(b"2" * 32, NOW)
    assert not store.administrators.set_up_is_offered(b"2" * 32, NOW + HOUR)
    for token, moment in ((b"1" * 32, NOW), (b"2" * 32, NOW + HOUR)):
        outcome = store.administrators.set_up(token, "ann", "hash", moment, record)
        assert result_of(outcome) is None
    made = result_of(store.administrators.set_up(b"2" * 32, "ann", "hash", NOW, record))
    assert made is not None
    assert store.administrators.find("ann") == made
    assert result_of(store.administrators.set_up(b"2" * 32, "bob", "hash", NOW, record)) is None
    assert told(store) == [("admin.set_up", "ann")]
    # Even after the administrator is removed, the link stays used.
    assert result_of(store.administrators.remove("ann", noted(Action.ADMIN_REMOVE)))
    assert not store.administrators.set_up_is_offered(b"2" * 32, NOW)


def test_there_is_no_link_if_there_is_an_administrator(store: Store, new_store: NewStore) -> None:
    assert store.administrators.offer_set_up(b"1" * 32, NOW + HOUR)
    add(new_store())
    assert not store.administrators.set_up_is_offered(b"1" * 32, NOW)
    outcome = store.administrators.set_up(b"1" * 32, "bob", "h", NOW, noted(Action.ADMIN_SET_UP))
    assert result_of(outcome) is None
    assert not store.administrators.offer_set_up(b"2" * 32, NOW + HOUR)
    assert not store.administrators.set_up_is_offered(b"2" * 32, NOW)
