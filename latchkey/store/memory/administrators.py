"""The administrators of a store in memory, their sessions and the set-up link."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice

from latchkey.credentials.administrators import Administrator, ConsoleSession
from latchkey.credentials.audit import AuditEvent
from latchkey.credentials.publishing import Made, Outcome, Publication
from latchkey.credentials.times import to_the_millisecond
from latchkey.store.memory.audit import MemoryAuditLog
from latchkey.store.memory.state import MemoryDatabase, State, StoredSession


class MemoryAdministratorStore:
    """The administrators of one database."""

    def __init__(self, database: MemoryDatabase, audit: MemoryAuditLog) -> None:
        self._database = database
        self._audit = audit

    def by_name(self, limit: int | None = None) -> Iterator[Administrator]:
        every = sorted(self._database.committed.administrators.values(), key=lambda one: one.name)
        return islice(every, limit)

    def count(self) -> int:
        return len(self._database.committed.administrators)

    def find(self, name: str) -> Administrator | None:
        return _named(self._database.committed, name)

    def add(
        self, name: str, password_hash: str, now: datetime, record: AuditEvent
    ) -> Outcome[Administrator | None]:
        return self._database.publishable(
            lambda state: self._add(state, name, password_hash, now, record)
        )

    def remove(self, name: str, record: AuditEvent) -> Outcome[bool]:
        def transaction(state: State, found: Administrator) -> None:
            del state.administrators[found.id]
            _end_all(state, found.id)

        return self._to_one(lambda state: _named(state, name), transaction, record)

    def disable(self, name: str, now: datetime, record: AuditEvent) -> Outcome[bool]:
        def transaction(state: State, found: Administrator) -> None:
            state.administrators[found.id] = replace(found, disabled_at=to_the_millisecond(now))
            _end_all(state, found.id)

        return self._to_one(lambda state: _named(state, name), transaction, record)

    def enable(self, name: str, record: AuditEvent) -> Outcome[bool]:
        def transaction(state: State, found: Administrator) -> None:
            state.administrators[found.id] = replace(found, disabled_at=None)

        return self._to_one(lambda state: _named(state, name), transaction, record)

    def set_password(
        self, administrator_id: int, password_hash: str, record: AuditEvent
    ) -> Outcome[bool]:
        def transaction(state: State, found: Administrator) -> None:
            state.administrators[found.id] = replace(found, password_hash=password_hash)
            _end_all(state, found.id)

        return self._to_one(
            lambda state: state.administrators.get(administrator_id), transaction, record
        )

    def renew_hash(self, found: Administrator, password_hash: str) -> None:
        def transaction(state: State) -> None:
            now = state.administrators.get(found.id)
            if now is not None and now.password_hash == found.password_hash:
                state.administrators[found.id] = replace(now, password_hash=password_hash)

        self._database.change(transaction)

    def begin_session(
        self,
        found: Administrator,
        token_hash: bytes,
        now: datetime,
        *,
        oldest: datetime,
        unseen: datetime,
        record: AuditEvent | None,
    ) -> Outcome[bool]:
        def transaction(state: State) -> Made[bool]:
            current = state.administrators.get(found.id)
            if current is None or not current.is_enabled:
                return Made(False)
            if current.password_hash != found.password_hash:
                return Made(False)
            state.administrators[found.id] = replace(current, signed_in_at=to_the_millisecond(now))
            state.sessions = {
                token: one
                for token, one in state.sessions.items()
                if one.created_at > oldest and one.seen_at > unseen
            }
            state.sessions[token_hash] = StoredSession(
                found.id, to_the_millisecond(now), to_the_millisecond(now)
            )
            return Made(True, self._recorded(state, record))

        return self._database.publishable(transaction)

    def session(self, token_hash: bytes) -> ConsoleSession | None:
        state = self._database.committed
        found = state.sessions.get(token_hash)
        if found is None or not state.administrators[found.administrator_id].is_enabled:
            return None
        return _session(state, token_hash)

    def sessions(self, administrator_id: int) -> list[ConsoleSession]:
        state = self._database.committed
        every = [
            _session(state, token)
            for token, one in state.sessions.items()
            if one.administrator_id == administrator_id
        ]
        return sorted(every, key=lambda one: one.seen_at, reverse=True)

    def see_session(self, token_hash: bytes, now: datetime) -> None:
        self._update_session(token_hash, lambda one: replace(one, seen_at=to_the_millisecond(now)))

    def tell(self, token_hash: bytes, messages: Sequence[tuple[str, str]]) -> None:
        self._update_session(token_hash, lambda one: replace(one, messages=tuple(messages)))

    def end_session(self, token_hash: bytes, record: AuditEvent) -> Outcome[None]:
        def transaction(state: State) -> Made[None]:
            if state.sessions.pop(token_hash, None) is None:
                return Made(None)
            return Made(None, self._recorded(state, record))

        return self._database.publishable(transaction)

    def end_sessions(self, administrator_id: int, record: AuditEvent) -> Outcome[int]:
        return self._database.publishable(
            lambda state: Made(_end_all(state, administrator_id), self._recorded(state, record))
        )

    def record(self, record: AuditEvent) -> Outcome[None]:
        return self._audit.record(record)

    def offer_set_up(self, token_hash: bytes, expires_at: datetime) -> bool:
        def transaction(state: State) -> bool:
            state.set_up_link = (
                None if state.administrators else (token_hash, to_the_millisecond(expires_at))
            )
            return state.set_up_link is not None

        return self._database.change(transaction)

    def set_up_is_offered(self, token_hash: bytes, now: datetime) -> bool:
        return _is_offered(self._database.committed, token_hash, now)

    def set_up(
        self, token_hash: bytes, name: str, password_hash: str, now: datetime, record: AuditEvent
    ) -> Outcome[Administrator | None]:
        def transaction(state: State) -> Made[Administrator | None]:
            if not _is_offered(state, token_hash, now):
                return Made(None)
            state.set_up_link = None
            return self._add(state, name, password_hash, now, record)

        return self._database.publishable(transaction)

    def _add(
        self, state: State, name: str, password_hash: str, now: datetime, record: AuditEvent
    ) -> Made[Administrator | None]:
        if _named(state, name) is not None:
            return Made(None)
        state.last_administrator += 1
        made = Administrator(
            state.last_administrator, name, password_hash, to_the_millisecond(now), None, None
        )
        state.administrators[made.id] = made
        return Made(made, self._recorded(state, record))

    def _to_one(
        self,
        find: Callable[[State], Administrator | None],
        change: Callable[[State, Administrator], None],
        record: AuditEvent,
    ) -> Outcome[bool]:
        """Change one administrator; False if there is none."""

        def transaction(state: State) -> Made[bool]:
            found = find(state)
            if found is None:
                return Made(False)
            change(state, found)
            return Made(True, self._recorded(state, record))

        return self._database.publishable(transaction)

    def _update_session(
        self, token_hash: bytes, change: Callable[[StoredSession], StoredSession]
    ) -> None:
        def transaction(state: State) -> None:
            if token_hash in state.sessions:
                state.sessions[token_hash] = change(state.sessions[token_hash])

        self._database.change(transaction)

    def _recorded(self, state: State, record: AuditEvent | None) -> Publication:
        return (
            Publication() if record is None else Publication(head=self._audit.append(state, record))
        )


def _named(state: State, name: str) -> Administrator | None:
    return next((one for one in state.administrators.values() if one.name == name), None)


def _session(state: State, token_hash: bytes) -> ConsoleSession:
    found = state.sessions[token_hash]
    administrator = state.administrators[found.administrator_id]
    return ConsoleSession(
        token_hash, administrator, found.created_at, found.seen_at, found.messages
    )


def _end_all(state: State, administrator_id: int) -> int:
    ended = [
        token for token, one in state.sessions.items() if one.administrator_id == administrator_id
    ]
    for token in ended:
        del state.sessions[token]
    return len(ended)


def _is_offered(state: State, token_hash: bytes, now: datetime) -> bool:
    if state.set_up_link is None or state.administrators:
        return False
    offered, expires_at = state.set_up_link
    return offered == token_hash and expires_at > now
