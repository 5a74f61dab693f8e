"""The service that renews quotas, for the operator."""

from __future__ import annotations

from collections.abc import Collection

from latchkey.credentials.accounts import Account, AccountChange
from latchkey.credentials.audit import Actor
from latchkey.credentials.callers import Author
from latchkey.credentials.limit_rules import quotas_to_renew
from latchkey.credentials.models import Change, Credential
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.times import utc_now
from latchkey.store.protocols import Store


class LimitService:
    """Renews the quotas of keys and accounts: nothing of them is then spent.

    ``names`` are those of the quotas, None for all. Takes effect before it returns. Raises
    InvalidField for a name that no quota has, and if there is no quota.
    """

    def __init__(self, store: Store, publisher: Publisher) -> None:
        self._store = store
        self._publisher = publisher

    def reset_key(
        self, api_key: str, names: Collection[str] | None = None, *, by: Actor
    ) -> Credential:
        """Renew quotas of a key, for all keys that share them; raises CredentialNotFound."""

        def decide(caller: Credential | None, found: Credential) -> Change:
            present = (stored.limit for stored in found.applied_limits.own)
            return Change(renewed=quotas_to_renew(present, names))

        return self._publisher.publish(self._store.change(api_key, utc_now(), decide, Author(by)))

    def reset_account(
        self, account_id: str, names: Collection[str] | None = None, *, by: Actor
    ) -> Account:
        """Renew quotas of an account, in both modes; raises AccountNotFound."""

        def decide(caller: Credential | None, found: Account) -> AccountChange:
            return AccountChange(renewed=quotas_to_renew(found.limits.definitions, names))

        outcome = self._store.accounts.change(account_id, utc_now(), decide, Author(by))
        return self._publisher.publish(outcome)
