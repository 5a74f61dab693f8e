"""The audit log of a store in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import datetime
from itertools import islice

from latchkey.credentials.audit import (
    ALL_ROWS,
    ERASED_DETAIL,
    NO_ROWS,
    Action,
    Actor,
    AuditEvent,
    AuditFilter,
    AuditRow,
    Head,
)
from latchkey.credentials.audit_check import Verification
from latchkey.credentials.audit_erasure import KEPT_DETAILS, Bounds
from latchkey.credentials.publishing import Made, Outcome, Publication
from latchkey.credentials.times import to_milliseconds
from latchkey.errors import StoreError
from latchkey.store.audit_head import Seal
from latchkey.store.kept_head import KeptHead
from latchkey.store.memory.state import MemoryDatabase, State
from latchkey.store.places import ChangePlaces


class MemoryAuditLog:
    """The log of one database."""

    def __init__(self, database: MemoryDatabase, seal: Seal | None) -> None:
        self._database = database
        self._seal = seal
        self._kept = KeptHead(seal, ChangePlaces(None), self._has)

    def append(self, state: State, record: AuditEvent) -> Head:
        """Add a row in a transaction."""
        if self._seal is None:
            raise StoreError("a change needs the key of the audit log")
        last = _last(state)
        entry = AuditRow(
            number=last.number + 1,
            at=to_milliseconds(record.at),
            action=record.action.value,
            actor_kind=record.actor.kind.value,
            actor=record.actor.name,
            address=record.actor.address,
            subject=record.subject,
            detail=record.detail_text,
            mac="",
        )
        entry = entry.with_digests()
        entry = replace(entry, mac=self._seal.key.mac(last.mac, entry.fields))
        state.audit.append(entry)
        return Head(entry.number, entry.mac)

    def record(self, record: AuditEvent) -> Outcome[None]:
        return self._database.publishable(
            lambda state: Made(None, Publication(head=self.append(state, record)))
        )

    def record_new_end(self, decide: Callable[[], AuditEvent]) -> Outcome[Head]:
        def transaction(state: State) -> Made[Head]:
            head = self.append(state, decide())
            return Made(head, Publication(head=head, replaces_head=True))

        return self._database.publishable(transaction)

    def rechain(self, *, detached: bool = False, unverified: str = "") -> Outcome[int]:
        """No version before this one has written such a log."""
        return Made(0)

    def expire(self, bounds: Bounds, now: datetime, after: int = 0) -> Outcome[int | None]:
        state = self._database.committed
        erased = [(row, _expired(row, bounds)) for row in state.audit]
        if all(row == kept for row, kept in erased):
            return Made(None)

        def transaction(state: State) -> Made[int | None]:
            event = AuditEvent(now, Action.AUDIT_EXPIRE, Actor.service(), detail=bounds.detail)
            last = [row for row in state.audit if row.action == Action.AUDIT_EXPIRE][-1:]
            publication = Publication()
            if [row.detail for row in last] != [event.detail_text]:
                publication = Publication(head=self.append(state, event))
            state.audit[:] = [_expired(row, bounds) for row in state.audit]
            return Made(state.audit[-1].number, publication)

        return self._database.publishable(transaction)

    def erase(
        self, state: State, account_id: str, keys: Collection[str]
    ) -> tuple[list[int], list[int]]:
        """Erase the values of rows about an account, in a transaction."""
        addresses, details = [], []
        for place, row in enumerate(state.audit):
            about = row.subject == account_id or row.subject in keys
            if (about or row.actor in keys) and row.address is not None:
                row = replace(row, address=None, address_salt=None)
                addresses.append(row.number)
            if about and row.action not in KEPT_DETAILS and not row.is_detail_erased:
                row = replace(row, detail=ERASED_DETAIL, detail_salt=None)
                details.append(row.number)
            state.audit[place] = row
        return addresses, details

    def keep(self, head: Head) -> None:
        self._kept.keep(head)

    def replace(self, head: Head) -> None:
        self._kept.write(head)

    def catch_up(self) -> None:
        self._kept.catch_up()

    def behind_head(self) -> str | None:
        return self._kept.ahead_of_log()

    def verify(self) -> Verification:
        return self._kept.verify(self.entries)

    def last(self) -> Head:
        return _last(self._database.committed)

    def page(self, wanted: AuditFilter, limit: int, before: int | None = None) -> list[AuditRow]:
        rows = (row for row in self.newest(wanted, None) if before is None or row.number < before)
        return list(islice(rows, limit))

    def newest(self, wanted: AuditFilter, limit: int | None) -> Iterator[AuditRow]:
        state = self._database.committed
        found = (row.readable for row in reversed(state.audit) if _is_wanted(state, row, wanted))
        return islice(found, limit)

    def entries(self, wanted: AuditFilter = ALL_ROWS) -> Iterator[AuditRow]:
        number = 0
        while number < len(self._database.committed.audit):
            state = self._database.committed
            row = state.audit[number]
            number += 1
            if _is_wanted(state, row, wanted):
                yield row

    def count(self, wanted: AuditFilter) -> int:
        return sum(1 for _ in self.newest(wanted, None))

    def _has(self, head: Head) -> bool:
        return any(Head(row.number, row.mac) == head for row in self._database.committed.audit)


def _last(state: State) -> Head:
    return Head(state.audit[-1].number, state.audit[-1].mac) if state.audit else NO_ROWS


def _expired(row: AuditRow, bounds: Bounds) -> AuditRow:
    """The row without its expired values."""
    moment = row.moment
    if moment is None:
        return row
    if bounds.addresses_before is not None and moment < bounds.addresses_before:
        row = replace(row, address=None, address_salt=None)
    expires = bounds.details_before is not None and moment < bounds.details_before
    if expires and row.action not in KEPT_DETAILS:
        row = replace(row, detail=ERASED_DETAIL, detail_salt=None)
    return row


def _is_wanted(state: State, row: AuditRow, wanted: AuditFilter) -> bool:
    return (
        (wanted.subject in (None, row.subject) or _made(state, row, str(wanted.subject)))
        and wanted.actor in (None, row.actor, row.actor_kind)
        and wanted.action in (None, row.action)
        and (wanted.since is None or row.at >= to_milliseconds(wanted.since))
    )


def _made(state: State, row: AuditRow, api_key: str) -> bool:
    """Whether a row about another key, or about several keys, created this one."""
    detail = json.loads(row.detail or "{}")
    if row.action == Action.KEY_ROTATE.value:
        return bool(detail.get("successor") == api_key)
    if row.action == Action.KEY_IMPORT.value:
        found = state.find(api_key)
        return (
            found is not None
            and row.detail != ERASED_DETAIL
            and found.origin == "imported"
            and to_milliseconds(found.created_at) == row.at
            and detail["first_id"] <= found.id <= detail["last_id"]
        )
    return False
