"""The store of accounts. A change publishes the account's id, which stands for all its keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    false,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from latchkey.credentials.accounts import (
    LONGEST_EXTERNAL_ID,
    MOST_SHOWN_KEYS,
    Account,
    AccountChange,
    AccountSelection,
    ErasedAccount,
    NewAccount,
    RevokedKeys,
)
from latchkey.credentials.audit import Action, AuditEvent
from latchkey.credentials.callers import Author
from latchkey.credentials.limit_records import renew_limits, store_account_limits
from latchkey.credentials.limits import AccountLimits
from latchkey.credentials.models import Credential, Mode
from latchkey.credentials.publishing import Made, Outcome, Publication
from latchkey.credentials.times import to_milliseconds, to_the_millisecond
from latchkey.errors import AccountNotFound, DuplicateExternalId
from latchkey.store.account_erasure import erase
from latchkey.store.audit import SqlAuditLog
from latchkey.store.audited_terms import account_difference, account_terms_of
from latchkey.store.batches import newest_first
from latchkey.store.connections import Connections
from latchkey.store.finding import (
    ACCOUNTS,
    caller_now,
    find_account,
    find_accounts,
    instance_account,
)
from latchkey.store.invalidations import log_invalidation
from latchkey.store.limits import SqlLimitRecords
from latchkey.store.rows import account_of, account_term_values, account_values
from latchkey.store.tables import account, credential
from latchkey.store.transactions import commit

T = TypeVar("T")


class SqlAccountStore:
    """The accounts of one database; see ``latchkey.store.protocols.AccountStore``."""

    def __init__(self, connections: Connections, audit: SqlAuditLog) -> None:
        self._connections = connections
        self._dialect = connections.dialect
        self._audit = audit

    def instance(self) -> Account:
        """The instance account."""
        with self._connections.reading() as connection:
            return instance_account(connection)

    def find(self, account_id: str) -> Account | None:
        """The account with this id."""
        with self._connections.reading() as connection:
            return find_account(connection, account_id)

    def find_external(self, external_id: str) -> Account | None:
        """The account with this external id."""
        query = ACCOUNTS.where(account.c.external_id == external_id)
        with self._connections.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else account_of(row)

    def find_many(
        self, account_ids: Collection[str], external_ids: Collection[str]
    ) -> list[Account]:
        """The accounts that have one of these ids or external ids, each once."""
        with self._connections.reading() as connection:
            found = find_accounts(connection, account.c.id, account_ids)
            found += find_accounts(connection, account.c.external_id, external_ids)
        return list({one.number: one for one in found}.values())

    def page(
        self,
        selection: AccountSelection,
        limit: int | None,
        before: int | None = None,
        *,
        offset: int = 0,
    ) -> list[Account]:
        """At most ``limit`` of the selected accounts with numbers below ``before``."""
        query = ACCOUNTS.where(*self._conditions(selection)).order_by(account.c.number.desc())
        if before is not None:
            query = query.where(account.c.number < before)
        with self._connections.reading() as connection:
            rows = connection.execute(query.limit(limit).offset(offset))
            return [account_of(row) for row in rows]

    def newest(self, selection: AccountSelection, limit: int | None) -> Iterator[Account]:
        """The selected accounts, newest first, read in batches."""
        return newest_first(partial(self.page, selection), lambda one: one.number, limit)

    def count(self, selection: AccountSelection) -> int:
        """How many accounts a selection has."""
        query = select(func.count()).select_from(account).where(*self._conditions(selection))
        with self._connections.reading() as connection:
            return connection.execute(query).scalar_one()

    def key_counts(self, account_ids: Collection[str]) -> dict[str, int]:
        """How many credentials that are not revoked each of these accounts has."""
        query = (
            select(credential.c.account_id, func.count().label("keys"))
            .where(credential.c.account_id.in_(account_ids), credential.c.revoked_at.is_(None))
            .group_by(credential.c.account_id)
        )
        with self._connections.reading() as connection:
            found = {row.account_id: row.keys for row in connection.execute(query)}
        return {account_id: found.get(account_id, 0) for account_id in account_ids}

    def credential_ids(self, account_id: str, mode: Mode | None) -> list[int]:
        """The numbers of all credentials of an account, in order."""
        query = _of_account(select(credential.c.id), account_id, mode).order_by(credential.c.id)
        with self._connections.reading() as connection:
            return list(connection.execute(query).scalars())

    def add(
        self, decide: Callable[[Credential | None], NewAccount], author: Author
    ) -> Outcome[Account]:
        """Store the account that ``decide`` returns."""

        def transaction(connection: Connection) -> Made[Account]:
            new = decide(caller_now(connection, author))
            records = SqlLimitRecords(connection)
            limits = store_account_limits(records, new.id, new.limits, new.created_at)
            try:
                connection.execute(insert(account), account_values(new, limits))
            except IntegrityError:
                raise DuplicateExternalId from None
            added = _present(connection, new.id)
            detail = account_terms_of(added)
            record = AuditEvent(
                new.created_at, Action.ACCOUNT_CREATE, author.actor, added.id, detail
            )
            return self._made(connection, added.id, added, new.created_at, record)

        return commit(self._connections, transaction)

    def change(
        self,
        account_id: str,
        now: datetime,
        decide: Callable[[Credential | None, Account], AccountChange],
        author: Author,
    ) -> Outcome[Account]:
        """Give an account the terms that ``decide`` returns."""

        def transaction(connection: Connection) -> Made[Account]:
            caller = caller_now(connection, author)
            found = _present(connection, account_id)
            terms = decide(caller, found)
            changed = replace(
                terms.after(found, to_the_millisecond(now)),
                limits=_limits_after(connection, found, terms, now),
            )
            if changed == found and not terms.renewed:
                # The process that made the same change may have died before it invalidated.
                return Made(found, Publication([account_id]))
            try:
                connection.execute(
                    update(account)
                    .where(account.c.number == found.number)
                    .values(**account_term_values(changed))
                )
            except IntegrityError:
                raise DuplicateExternalId from None
            detail = account_difference(found, changed)
            if terms.renewed:
                detail["renewed"] = sorted(terms.renewed)
            record = AuditEvent(now, Action.ACCOUNT_CHANGE, author.actor, account_id, detail)
            return self._made(connection, account_id, changed, now, record)

        return commit(self._connections, transaction)

    def revoke_keys(
        self, account_id: str, mode: Mode | None, now: datetime, author: Author
    ) -> Outcome[RevokedKeys]:
        """Mark all keys of an account as revoked at ``now``."""

        def transaction(connection: Connection) -> Made[RevokedKeys]:
            caller_now(connection, author)
            _present(connection, account_id)
            found = _revocable(connection, account_id, mode)
            if not found.matched:
                return Made(found, Publication([account_id]))
            revoked = _unrevoked(update(credential), account_id, mode)
            connection.execute(revoked.values(revoked_at=to_milliseconds(now)))
            detail: dict[str, object] = {"revoked": found.matched}
            if mode is not None:
                detail["mode"] = mode
            record = AuditEvent(now, Action.ACCOUNT_REVOKE_KEYS, author.actor, account_id, detail)
            result = RevokedKeys(found.matched, found.matched, found.api_keys)
            return self._made(connection, account_id, result, now, record)

        return commit(self._connections, transaction)

    def erase(self, account_id: str, now: datetime, author: Author) -> Outcome[ErasedAccount]:
        """Erase an account, and revoke all its keys."""
        return commit(
            self._connections,
            lambda connection: erase(connection, self._audit, account_id, now, author),
        )

    def revocable(self, account_id: str, mode: Mode | None) -> RevokedKeys:
        """The keys that ``revoke_keys`` would revoke."""
        with self._connections.reading() as connection:
            _present(connection, account_id)
            return _revocable(connection, account_id, mode)

    def _made(
        self,
        connection: Connection,
        account_id: str,
        result: T,
        now: datetime,
        record: AuditEvent,
    ) -> Made[T]:
        """End a transaction: add its rows to the two logs; returns the outcome to publish."""
        row = log_invalidation(connection, account_id, now)
        head = self._audit.append(connection, record)
        return Made(result, Publication([account_id], [row], head))

    def _conditions(self, selection: AccountSelection) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = []
        if selection.external_id is not None:
            conditions.append(account.c.external_id == selection.external_id)
        if selection.status is not None:
            disabled = account.c.disabled_at.is_not(None)
            conditions.append(disabled if selection.status == "disabled" else ~disabled)
        if selection.search is not None and len(selection.search) > LONGEST_EXTERNAL_ID:
            # Longer than every one of the texts.
            conditions.append(false())
        elif selection.search is not None:
            texts = (account.c.name, account.c.external_id, account.c.id)
            contains = self._dialect.contains
            conditions.append(or_(*(contains(column, selection.search) for column in texts)))
        return conditions


def _limits_after(
    connection: Connection, found: Account, terms: AccountChange, now: datetime
) -> AccountLimits:
    """Change the limits of an account; the caller stores which they are."""
    records = SqlLimitRecords(connection)
    if terms.limits is not None:
        renews = not terms.keeps_totals
        return store_account_limits(records, found.id, terms.limits, now, renews_totals=renews)
    live, test = (
        renew_limits(records, limits, terms.renewed, now) if terms.renewed else limits
        for limits in found.limits
    )
    return AccountLimits(live, test)


def _present(connection: Connection, account_id: str) -> Account:
    found = find_account(connection, account_id)
    if found is None:
        raise AccountNotFound
    return found


def _revocable(connection: Connection, account_id: str, mode: Mode | None) -> RevokedKeys:
    matched = _unrevoked(select(func.count()).select_from(credential), account_id, mode)
    first = _unrevoked(select(credential.c.api_key), account_id, mode)
    return RevokedKeys(
        connection.execute(matched).scalar_one(),
        0,
        tuple(
            connection.execute(
                first.order_by(credential.c.id.desc()).limit(MOST_SHOWN_KEYS)
            ).scalars()
        ),
    )


def _unrevoked(statement: Any, account_id: str, mode: Mode | None) -> Any:
    return _of_account(statement, account_id, mode).where(credential.c.revoked_at.is_(None))


def _of_account(statement: Any, account_id: str, mode: Mode | None) -> Any:
    found = statement.where(credential.c.account_id == account_id)
    return found if mode is None else found.where(credential.c.mode == mode)
