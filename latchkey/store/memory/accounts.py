"""The accounts of a store in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import TypeVar

from latchkey.credentials.accounts import (
    MOST_SHOWN_KEYS,
    Account,
    AccountChange,
    AccountSelection,
    ErasedAccount,
    NewAccount,
    RevokedKeys,
)
from latchkey.credentials.audit import Action, AuditEvent
from latchkey.credentials.audit_erasure import ranges_text
from latchkey.credentials.callers import Author
from latchkey.credentials.conditions import NO_CONDITIONS
from latchkey.credentials.limit_records import renew_limits, store_account_limits
from latchkey.credentials.limits import AccountLimits
from latchkey.credentials.models import Credential, Mode
from latchkey.credentials.publishing import Made, Outcome, Publication
from latchkey.credentials.reach import Reach
from latchkey.credentials.times import to_the_millisecond
from latchkey.errors import AccountNotFound, DuplicateExternalId, InvalidField
from latchkey.store.audited_terms import account_difference, account_terms_of
from latchkey.store.memory.audit import MemoryAuditLog
from latchkey.store.memory.limits import MemoryLimitRecords
from latchkey.store.memory.state import INSTANCE, MemoryDatabase, State, caller_now

T = TypeVar("T")


class MemoryAccountStore:
    """The accounts of one database."""

    def __init__(self, database: MemoryDatabase, audit: MemoryAuditLog) -> None:
        self._database = database
        self._audit = audit

    def instance(self) -> Account:
        return self._database.committed.accounts[INSTANCE.id]

    def find(self, account_id: str) -> Account | None:
        return self._database.committed.accounts.get(account_id)

    def find_external(self, external_id: str) -> Account | None:
        found = self.page(AccountSelection(external_id=external_id), 1)
        return found[0] if found else None

    def find_many(
        self, account_ids: Collection[str], external_ids: Collection[str]
    ) -> list[Account]:
        return [
            one
            for one in self._database.committed.accounts.values()
            if one.id in account_ids or one.external_id in external_ids
        ]

    def page(
        self,
        selection: AccountSelection,
        limit: int | None,
        before: int | None = None,
        *,
        offset: int = 0,
    ) -> list[Account]:
        newest = sorted(
            self._database.committed.accounts.values(), key=lambda one: one.number, reverse=True
        )
        found = (
            one
            for one in newest
            if _is_selected(one, selection) and (before is None or one.number < before)
        )
        return list(islice(found, offset, None if limit is None else offset + limit))

    def newest(self, selection: AccountSelection, limit: int | None) -> Iterator[Account]:
        return iter(self.page(selection, limit))

    def count(self, selection: AccountSelection) -> int:
        return len(self.page(selection, None))

    def key_counts(self, account_ids: Collection[str]) -> dict[str, int]:
        state = self._database.committed
        return {one: len(_unrevoked(state, one, None)) for one in account_ids}

    def credential_ids(self, account_id: str, mode: Mode | None) -> list[int]:
        found = self._database.committed.credentials.values()
        return [one.id for one in found if Reach(account_id, mode).covers(one)]

    def add(
        self, decide: Callable[[Credential | None], NewAccount], author: Author
    ) -> Outcome[Account]:
        def transaction(state: State) -> Made[Account]:
            new = decide(caller_now(state, author))
            _require_free(state, new.external_id)
            number = max(one.number for one in state.accounts.values()) + 1
            added = Account(
                number,
                new.id,
                new.name,
                new.external_id,
                new.metadata,
                to_the_millisecond(new.created_at),
                limits=store_account_limits(
                    MemoryLimitRecords(state), new.id, new.limits, new.created_at
                ),
            )
            state.accounts[added.id] = added
            detail = account_terms_of(added)
            record = AuditEvent(
                new.created_at, Action.ACCOUNT_CREATE, author.actor, added.id, detail
            )
            return self._made(state, added.id, added, new.created_at, record)

        return self._database.publishable(transaction)

    def change(
        self,
        account_id: str,
        now: datetime,
        decide: Callable[[Credential | None, Account], AccountChange],
        author: Author,
    ) -> Outcome[Account]:
        def transaction(state: State) -> Made[Account]:
            caller = caller_now(state, author)
            found = _present(state, account_id)
            terms = decide(caller, found)
            changed = replace(
                terms.after(found, to_the_millisecond(now)),
                limits=_limits_after(state, found, terms, now),
            )
            if changed == found and not terms.renewed:
                return Made(found, Publication([account_id]))
            if changed.external_id != found.external_id:
                _require_free(state, changed.external_id)
            state.accounts[account_id] = changed
            for number, one in state.credentials.items():
                if one.account_id == account_id:
                    state.credentials[number] = replace(one, account=changed)
            detail = account_difference(found, changed)
            if terms.renewed:
                detail["renewed"] = sorted(terms.renewed)
            record = AuditEvent(now, Action.ACCOUNT_CHANGE, author.actor, account_id, detail)
            return self._made(state, account_id, changed, now, record)

        return self._database.publishable(transaction)

    def revoke_keys(
        self, account_id: str, mode: Mode | None, now: datetime, author: Author
    ) -> Outcome[RevokedKeys]:
        def transaction(state: State) -> Made[RevokedKeys]:
            caller_now(state, author)
            _present(state, account_id)
            found = _unrevoked(state, account_id, mode)
            keys = tuple(one.api_key for one in found[:MOST_SHOWN_KEYS])
            result = RevokedKeys(len(found), len(found), keys)
            if not found:
                return Made(result, Publication([account_id]))
            for one in found:
                state.credentials[one.id] = replace(one, revoked_at=to_the_millisecond(now))
            detail: dict[str, object] = {"revoked": len(found)}
            if mode is not None:
                detail["mode"] = mode
            record = AuditEvent(now, Action.ACCOUNT_REVOKE_KEYS, author.actor, account_id, detail)
            return self._made(state, account_id, result, now, record)

        return self._database.publishable(transaction)

    def erase(self, account_id: str, now: datetime, author: Author) -> Outcome[ErasedAccount]:
        def transaction(state: State) -> Made[ErasedAccount]:
            caller_now(state, author)
            found = _present(state, account_id)
            if found.is_instance:
                raise InvalidField("account", "the instance account cannot be erased")
            of_account = [one for one in state.credentials.values() if one.account.id == account_id]
            revoked = sum(one.revoked_at is None for one in of_account)
            keys = {one.api_key for one in of_account}
            addresses, details = self._audit.erase(state, account_id, keys)
            erased = replace(
                found,
                name=None,
                external_id=None,
                metadata=None,
                disabled_at=found.disabled_at or to_the_millisecond(now),
                erased_at=found.erased_at or to_the_millisecond(now),
            )
            state.accounts[account_id] = erased
            for one in of_account:
                state.credentials[one.id] = replace(
                    one,
                    name=None,
                    metadata=None,
                    conditions=NO_CONDITIONS,
                    revoked_at=one.revoked_at or to_the_millisecond(now),
                    account=erased,
                )
            numbers = tuple(one.id for one in of_account)
            for key in [key for key in state.sightings if key[0] in numbers]:
                del state.sightings[key]
            for request in [request for request in state.once if request[0] in numbers]:
                del state.once[request]
            result = ErasedAccount(erased, numbers, revoked, len(addresses), len(details))
            if found.erased_at is not None and not (addresses or details or revoked):
                return Made(result, Publication([account_id]))
            detail: dict[str, object] = {
                "keys": len(numbers),
                "revoked": revoked,
                "addresses": ranges_text(addresses),
                "details": ranges_text(details),
            }
            record = AuditEvent(now, Action.ACCOUNT_ERASE, author.actor, account_id, detail)
            return self._made(state, account_id, result, now, record)

        return self._database.publishable(transaction)

    def revocable(self, account_id: str, mode: Mode | None) -> RevokedKeys:
        state = self._database.committed
        _present(state, account_id)
        found = _unrevoked(state, account_id, mode)
        return RevokedKeys(len(found), 0, tuple(one.api_key for one in found[:MOST_SHOWN_KEYS]))

    def _made(
        self, state: State, account_id: str, result: T, now: datetime, record: AuditEvent
    ) -> Made[T]:
        rows = [state.log(account_id, now)]
        return Made(result, Publication([account_id], rows, self._audit.append(state, record)))


def _limits_after(
    state: State, found: Account, terms: AccountChange, now: datetime
) -> AccountLimits:
    records = MemoryLimitRecords(state)
    if terms.limits is not None:
        renews = not terms.keeps_totals
        return store_account_limits(records, found.id, terms.limits, now, renews_totals=renews)
    live, test = (renew_limits(records, limits, terms.renewed, now) for limits in found.limits)
    return AccountLimits(live, test)


def _present(state: State, account_id: str) -> Account:
    found = state.accounts.get(account_id)
    if found is None:
        raise AccountNotFound
    return found


def _require_free(state: State, external_id: str | None) -> None:
    taken = (one.external_id for one in state.accounts.values())
    if external_id is not None and external_id in taken:
        raise DuplicateExternalId


def _unrevoked(state: State, account_id: str, mode: Mode | None) -> list[Credential]:
    """Newest first."""
    reach = Reach(account_id, mode)
    newest = reversed(state.credentials.values())
    return [one for one in newest if reach.covers(one) and one.revoked_at is None]


def _is_selected(one: Account, selection: AccountSelection) -> bool:
    texts = (one.name or "", one.external_id or "", one.id)
    search = selection.search
    return (
        selection.external_id in (None, one.external_id)
        and selection.status in (None, one.status)
        and (search is None or any(search.lower() in text.lower() for text in texts))
    )
