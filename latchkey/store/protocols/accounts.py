"""The protocol of the accounts that credentials belong to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Protocol

from latchkey.credentials.accounts import (
    Account,
    AccountChange,
    AccountSelection,
    ErasedAccount,
    NewAccount,
    RevokedKeys,
)
from latchkey.credentials.callers import Author
from latchkey.credentials.models import Credential, Mode
from latchkey.credentials.publishing import Outcome


class AccountStore(Protocol):
    """Accounts: looked up, paged through, and changed.

    Every change publishes the account's id as one lookup key, which stands for the keys of the
    account, and adds one row to the log of invalidations and one to the audit log. As in
    CredentialStore, the calling key is read first in the transaction, and ``author.confirm``
    decides whether it still may make the change; if it or ``decide`` raises a Refusal, the Outcome
    is its Refused. A change raises AccountNotFound if there is no such account.
    """

    def instance(self) -> Account:
        """The instance account, which every database has."""

    def find(self, account_id: str) -> Account | None:
        """The account with this id."""

    def find_external(self, external_id: str) -> Account | None:
        """The account with this external id."""

    def find_many(
        self, account_ids: Collection[str], external_ids: Collection[str]
    ) -> list[Account]:
        """The accounts that have one of these ids or external ids, each once."""

    def page(
        self,
        selection: AccountSelection,
        limit: int | None,
        before: int | None = None,
        *,
        offset: int = 0,
    ) -> list[Account]:
        """At most ``limit`` of the selected accounts with numbers below ``before``, newest first.

        None is no limit. The first ``offset`` of them are left out.
        """

    def newest(self, selection: AccountSelection, limit: int | None) -> Iterator[Account]:
        """The selected accounts, newest first, read in batches; None is no limit."""

    def count(self, selection: AccountSelection) -> int:
        """How many accounts a selection has."""

    def key_counts(self, account_ids: Collection[str]) -> dict[str, int]:
        """How many credentials that are not revoked each of these accounts has, in both modes."""

    def credential_ids(self, account_id: str, mode: Mode | None) -> list[int]:
        """The numbers of all credentials of an account in ``mode`` (None: both), in order."""

    def add(
        self, decide: Callable[[Credential | None], NewAccount], author: Author
    ) -> Outcome[Account]:
        """Store a new account; raises DuplicateExternalId if its external id is taken."""

    def change(
        self,
        account_id: str,
        now: datetime,
        decide: Callable[[Credential | None, Account], AccountChange],
        author: Author,
    ) -> Outcome[Account]:
        """Give an account the terms that ``decide`` returns for its present state.

        Raises DuplicateExternalId. Terms that change nothing are published too, without a row in
        the audit log: the process that made the same change may have died before it published it.
        """

    def revoke_keys(
        self, account_id: str, mode: Mode | None, now: datetime, author: Author
    ) -> Outcome[RevokedKeys]:
        """Mark all keys of an account in ``mode`` (None: both) as revoked at ``now``.

        The audit log gets one row, unless there was none to revoke; that is published nevertheless.
        """

    def erase(self, account_id: str, now: datetime, author: Author) -> Outcome[ErasedAccount]:
        """Erase an account: revoke all its keys, and remove what identifies the customer.

        Removed are its name, external id and metadata; names, metadata and conditions of its keys,
        the addresses they were used from and their idempotency keys; the addresses and details of
        audit rows about the account or one of its keys, and the addresses of rows that its keys
        caused. The audit log gets one row, unless there was nothing to erase; that is published
        nevertheless. Raises InvalidField for the instance account.
        """

    def revocable(self, account_id: str, mode: Mode | None) -> RevokedKeys:
        """The keys that ``revoke_keys`` would revoke; ``revoked`` is 0."""
