"""All aggregates of a store in memory: credentials, imported ones, and the rest.

It meets the contract of the protocols. Each change copies what is stored, so it is for hundreds of
credentials, not for thousands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice

from latchkey.credentials.accounts import Account
from latchkey.credentials.audit import Action, Actor, AuditEvent
from latchkey.credentials.caller_rights import require_within_caller
from latchkey.credentials.callers import Author
from latchkey.credentials.limit_records import renew_limits, store_limits
from latchkey.credentials.limits import SharedLimits
from latchkey.credentials.models import (
    Change,
    Credential,
    Mode,
    NewCredential,
    Rotation,
    Verifier,
)
from latchkey.credentials.publishing import Made, Outcome, Publication, Refusal
from latchkey.credentials.reach import Reach
from latchkey.credentials.times import to_the_millisecond, to_the_millisecond_or_none
from latchkey.errors import (
    CredentialNotFound,
    DuplicateApiKey,
)
from latchkey.store.audit_head import Seal
from latchkey.store.audited_terms import difference, terms_of
from latchkey.store.memory.accounts import MemoryAccountStore
from latchkey.store.memory.administrators import MemoryAdministratorStore
from latchkey.store.memory.audit import MemoryAuditLog
from latchkey.store.memory.boxes import MemoryBoxStore
from latchkey.store.memory.idempotency import MemoryIdempotencyLog, remember, require_first
from latchkey.store.memory.limits import MemoryLimitRecords, MemoryLimitStore
from latchkey.store.memory.listing import MemoryListing, newest_of
from latchkey.store.memory.state import MemoryDatabase, State, caller_now
from latchkey.store.memory.usage import MemoryInvalidationLog, MemoryUsageStore
from latchkey.store.places import ChangePlaces
from latchkey.store.protocols import Store


def open_memory_store(
    database: MemoryDatabase,
    seal: Seal | None,
    *,
    write_timeout: float = 10.0,
    several_boxes: bool = False,
) -> Store:
    """Another store with the same database; with ``several_boxes``, boxes register in it."""
    return MemoryStore(database, seal, write_timeout, several_boxes)


class MemoryStore:
    """All aggregates of one database."""

    def __init__(
        self, database: MemoryDatabase, seal: Seal | None, patience: float, several_boxes: bool
    ) -> None:
        self._database = database
        self.boxes = MemoryBoxStore(database) if several_boxes else None
        self.places = ChangePlaces(None)
        self._patience = patience
        self.audit = MemoryAuditLog(database, seal)
        self.invalidations = MemoryInvalidationLog(database)
        self.idempotency = MemoryIdempotencyLog(database)
        self.usage = MemoryUsageStore(database)
        self.limits = MemoryLimitStore(database)
        self.administrators = MemoryAdministratorStore(database, self.audit)
        self.accounts = MemoryAccountStore(database, self.audit)
        self.imported = MemoryImportedCredentials(database, self.audit)
        self.listing = MemoryListing(database)

    def find(self, api_key: str) -> Credential | None:
        return self._database.committed.find(api_key)

    def verifier(self, api_key: str) -> Verifier | None:
        return _verifier(self.find(api_key))

    def page(
        self, mode: Mode | None, limit: int, before: int | None, account_id: str | None = None
    ) -> list[Credential]:
        newest = newest_of(self._database.committed)
        found = (
            one
            for one in newest
            if Reach(account_id, mode).covers(one) and (before is None or one.id < before)
        )
        return list(islice(found, limit))

    def count(self, mode: Mode) -> int:
        return sum(one.mode == mode for one in self._database.committed.credentials.values())

    def check(self) -> None:
        pass

    def scrub(self) -> None:
        """Do nothing: no copy of deleted values remains in memory."""

    def look_after(self) -> None:
        self.audit.catch_up()

    def close(self) -> None:
        pass

    def add(
        self,
        decide: Callable[[Credential | None], NewCredential],
        action: Action,
        author: Author,
    ) -> Outcome[Credential]:
        def transaction(state: State) -> Made[Credential]:
            caller = caller_now(state, author)
            new = decide(caller)
            require_first(state, caller, author.once, new.created_at)
            added = _add_unless_there(state, new)
            remember(state, caller, author.once, added)
            record = AuditEvent(
                new.created_at, action, author.actor, added.api_key, terms_of(added)
            )
            return self._made(state, added, [added.lookup], new.created_at, record)

        return self._database.publishable(transaction, self._patience)

    def revoke(self, api_key: str, now: datetime, author: Author) -> Outcome[Credential]:
        def transaction(state: State) -> Made[Credential]:
            caller = caller_now(state, author)
            found = _changeable(state, api_key, author.reach(caller))
            revoked = _put(state, replace(found, revoked_at=to_the_millisecond(now)))
            record = AuditEvent(now, Action.KEY_REVOKE, author.actor, api_key)
            return self._made(state, revoked, [found.lookup], now, record)

        return self._database.publishable(transaction, self._patience)

    def change(
        self,
        api_key: str,
        now: datetime,
        decide: Callable[[Credential | None, Credential], Change],
        author: Author,
    ) -> Outcome[Credential]:
        def transaction(state: State) -> Made[Credential]:
            caller = caller_now(state, author)
            found = _changeable(state, api_key, author.reach(caller))
            terms = decide(caller, found)
            changed = replace(
                found,
                name=found.name if terms.name is None else terms.name,
                scopes=found.scopes if terms.scopes is None else terms.scopes,
                expires_at=to_the_millisecond_or_none(terms.expires_at)
                if terms.sets_expiry
                else found.expires_at,
                conditions=terms.conditions_after(found.conditions),
                metadata=terms.metadata_after(found.metadata),
            )
            _put(state, changed)
            lookups = [found.lookup]
            if terms.limits is not None or terms.renewed:
                changed = _change_limits(state, changed, terms, now)
                if changed.shared_limits or _sharing(state, found.id):
                    lookups.append(found.account_id)
            detail = difference(found, changed)
            if terms.renewed:
                detail["renewed"] = sorted(terms.renewed)
            record = AuditEvent(now, Action.KEY_CHANGE, author.actor, api_key, detail)
            return self._made(state, changed, lookups, now, record)

        return self._database.publishable(transaction, self._patience)

    def rotate(
        self,
        api_key: str,
        now: datetime,
        decide: Callable[[Credential | None, Credential, Credential | None], Rotation],
        author: Author,
    ) -> Outcome[Credential]:
        def transaction(state: State) -> Made[Credential]:
            caller = caller_now(state, author)
            found = _changeable(state, api_key, author.reach(caller))
            require_within_caller(found, caller)
            require_first(state, caller, author.once, now, [found.lookup])
            former = None if found.rotated_to is None else state.find(found.rotated_to)
            rotation = decide(caller, found, former)
            successor = _add_unless_there(state, rotation.successor)
            remember(state, caller, author.once, successor)
            original = found.expires_at if found.rotated_to is None else found.original_expires_at
            ended = replace(
                found,
                expires_at=to_the_millisecond_or_none(rotation.expires_at),
                rotated_to=successor.api_key,
                original_expires_at=original,
            )
            _put(state, ended)
            detail = {**difference(found, ended), "successor": successor.api_key}
            record = AuditEvent(now, Action.KEY_ROTATE, author.actor, api_key, detail)
            return self._made(state, successor, [successor.lookup, found.lookup], now, record)

        return self._database.publishable(transaction, self._patience)

    def _made(
        self,
        state: State,
        result: Credential,
        lookups: Sequence[str],
        now: datetime,
        record: AuditEvent,
    ) -> Made[Credential]:
        rows = [state.log(lookup, now) for lookup in lookups]
        return Made(result, Publication(lookups, rows, self.audit.append(state, record)))


class MemoryImportedCredentials:
    """The imported credentials of one database."""

    def __init__(self, database: MemoryDatabase, audit: MemoryAuditLog) -> None:
        self._database = database
        self._audit = audit

    def verifier(self, token_hash: bytes) -> Verifier | None:
        state = self._database.committed
        return _verifier(state.credentials.get(state.by_token.get(token_hash, 0)))

    def hashes(self) -> Iterator[bytes]:
        return iter(self._database.committed.by_token)

    def add_all(
        self,
        new: Sequence[NewCredential],
        left_out: Callable[[Collection[bytes]], Collection[bytes]],
        detail: dict[str, object],
        actor: Actor,
        progress: Callable[[int], None],
        *,
        confirm: Callable[[Mapping[str, Account]], None] = lambda accounts: None,
    ) -> Outcome[list[NewCredential]]:
        there = self._database.committed.credentials
        try:
            early = set(left_out({one.secret_hash for one in there.values()}))
        except Refusal as refusal:
            return refusal.refused
        if early.issuperset(one.secret_hash for one in new):
            return Made([], Publication([token_hash.hex() for token_hash in early]))

        named = {one.account_id for one in new if one.account_id is not None}

        def transaction(state: State) -> Made[list[NewCredential]]:
            confirm({one: state.accounts[one] for one in named if one in state.accounts})
            since = [one for number, one in state.credentials.items() if number not in there]
            out = early.union(left_out({one.secret_hash for one in since}))
            added = [one for one in new if one.secret_hash not in out]
            lookups = [token_hash.hex() for token_hash in out]
            if not added:
                return Made(added, Publication(lookups))
            stored = [_add(state, one) for one in added]
            progress(len(stored))
            rows = [state.log(one.lookup, one.created_at) for one in stored]
            ids = {"count": len(stored), "first_id": stored[0].id, "last_id": stored[-1].id}
            record = AuditEvent(
                added[0].created_at, Action.KEY_IMPORT, actor, None, {**detail, **ids}
            )
            lookups += [one.lookup for one in stored]
            return Made(added, Publication(lookups, rows, self._audit.append(state, record)))

        return self._database.publishable(transaction)


def _verifier(found: Credential | None) -> Verifier | None:
    if found is None:
        return None
    revoked = found.revoked_at is not None
    return Verifier(
        *(found.secret_hash, revoked, found.principal(), found.effective_conditions),
        found.checked_limits,
    )


def _changeable(state: State, api_key: str, reach: Reach) -> Credential:
    found = state.find(api_key)
    if found is None or not reach.covers(found):
        raise CredentialNotFound
    if found.revoked_at is not None:
        raise Refusal(CredentialNotFound(), [found.lookup])
    return found


def _add_unless_there(state: State, new: NewCredential) -> Credential:
    try:
        return _add(state, new)
    except DuplicateApiKey as error:
        raise Refusal(error, [new.lookup]) from None


def _add(state: State, new: NewCredential) -> Credential:
    account = state.account_for(new.account_id)
    imported = new.origin == "imported"
    if new.api_key in state.by_key or (imported and new.secret_hash in state.by_token):
        raise DuplicateApiKey
    state.last_credential += 1
    state.by_key[new.api_key] = state.last_credential
    if imported:
        state.by_token[new.secret_hash] = state.last_credential
    return _put(
        state,
        Credential(
            id=state.last_credential,
            api_key=new.api_key,
            secret_hash=new.secret_hash,
            derivation_id=new.derivation_id,
            account=account,
            mode=new.mode,
            name=new.name,
            scopes=new.scopes,
            created_at=to_the_millisecond(new.created_at),
            expires_at=to_the_millisecond_or_none(new.expires_at),
            revoked_at=None,
            rotated_to=None,
            original_expires_at=None,
            last_used_at=None,
            first_used_at=None,
            origin=new.origin,
            conditions=new.conditions,
            metadata=new.metadata,
            limits=store_limits(
                MemoryLimitRecords(state), new.api_key, "", new.limits, new.created_at
            ),
            shared_limits=None if new.limits_of is None else _shared(state, new.limits_of),
        ),
    )


def _shared(state: State, number: int) -> SharedLimits:
    root = state.credentials[number]
    return SharedLimits(number, root.api_key, root.limits)


def _sharing(state: State, number: int) -> list[Credential]:
    return [one for one in state.credentials.values() if one.limits_of == number]


def _change_limits(state: State, found: Credential, terms: Change, now: datetime) -> Credential:
    """Change the limits of a credential, and of those that share them; returns the credential."""
    holder = found
    if terms.limits is not None:
        renews = not terms.keeps_totals
        limits = store_limits(
            MemoryLimitRecords(state), found.api_key, "", terms.limits, now, renews_totals=renews
        )
        holder = replace(found, limits=limits, shared_limits=None)
    else:
        holder = state.credentials[found.limits_of or found.id]
        holder = replace(
            holder,
            limits=renew_limits(MemoryLimitRecords(state), holder.limits, terms.renewed, now),
        )
    _put(state, holder)
    for one in _sharing(state, holder.id):
        _put(state, replace(one, shared_limits=_shared(state, holder.id)))
    return state.credentials[found.id]


def _put(state: State, credential: Credential) -> Credential:
    state.credentials[credential.id] = credential
    return credential
