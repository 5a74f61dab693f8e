"""The service that resets limits in the database, for the operator."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from latchkey.credentials.accounts import Account, AccountChange
from latchkey.credentials.audit import Actor
from latchkey.credentials.callers import Author
from latchkey.credentials.limit_rules import limits_to_reset
from latchkey.credentials.limits import Limit, RateLimit
from latchkey.credentials.listing import AsOf, LimitSharing, Order, Selection
from latchkey.credentials.models import Change, Credential
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.times import utc_now
from latchkey.store.protocols import Store

_NAMED = 5


class LimitService:
    """Resets the limits of keys and accounts: their quotas begin anew.

    ``names`` are those of limits, None for all. A reset of rates changes nothing in the database,
    but is a row of the audit log too. Takes effect before it returns. Raises InvalidField for a
    name that no limit has, and if there are no limits.
    """

    def __init__(
        self, store: Store, publisher: Publisher, default: RateLimit | None = None
    ) -> None:
        """``default`` is the limit of keys without limits of their own."""
        self._store = store
        self._publisher = publisher
        self._default = default

    def limits_of(self, holder: Credential | Account) -> list[Limit]:
        """The limits that a reset of a key or an account resets.

        For a key, these are its own limits, or those that it shares, or the default limit.
        """
        if isinstance(holder, Account):
            return list(holder.limits.definitions)
        own = [stored.limit for stored in holder.applied_limits.own]
        return own or ([] if self._default is None else [self._default])

    def reset_key(
        self, api_key: str, names: Collection[str] | None = None, *, by: Actor
    ) -> Credential:
        """Reset limits of a key, for all keys that share them; raises CredentialNotFound."""

        def decide(caller: Credential | None, found: Credential) -> Change:
            return Change(renewed=frozenset(limits_to_reset(self.limits_of(found), names)))

        return self._publisher.publish(self._store.change(api_key, utc_now(), decide, Author(by)))

    def reset_account(
        self, account_id: str, names: Collection[str] | None = None, *, by: Actor
    ) -> Account:
        """Reset limits of an account, in both modes; raises AccountNotFound."""

        def decide(caller: Credential | None, found: Account) -> AccountChange:
            return AccountChange(renewed=frozenset(limits_to_reset(self.limits_of(found), names)))

        outcome = self._store.accounts.change(account_id, utc_now(), decide, Author(by))
        return self._publisher.publish(outcome)

    def sharing(self, credential: Credential) -> LimitSharing:
        """The other active keys that share the limits of a key."""
        as_of = AsOf(utc_now(), timedelta(0))
        sharers = Selection(limits_of=credential.applied_limits.shared_from, status="active")
        total = self._store.listing.count(sharers, as_of)
        found = self._store.listing.page(sharers, Order(), as_of, limit=_NAMED + 1)
        others = [one for one in found if one.id != credential.id]
        shared = credential.shared_limits
        if shared is not None:
            total -= credential.status(as_of.now) == "active"
            source = self._store.find(shared.api_key)
            if source is not None and source.status(as_of.now) == "active":
                total += 1
                others.insert(0, source)
        return LimitSharing(total, tuple(others[:_NAMED]))
