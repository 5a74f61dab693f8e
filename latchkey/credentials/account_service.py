"""The service of accounts: every operation on them, for the API, the console and the commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from latchkey.credentials.accounts import (
    ACCOUNT_PREFIX,
    LARGEST_METADATA,
    Account,
    AccountChange,
    AccountSelection,
    ErasedAccount,
    NewAccount,
    RevokedKeys,
    is_account_id,
    is_external_id,
)
from latchkey.credentials.audit import Actor
from latchkey.credentials.callers import Author
from latchkey.credentials.limits import Limit, checked_limits
from latchkey.credentials.models import Credential, Mode, Principal
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.scopes import CHANGE_ACCOUNTS
from latchkey.credentials.times import utc_now
from latchkey.credentials.tokens import new_id, redact_secrets
from latchkey.errors import AccountNotFound, InvalidField, NeedsInstanceAccount
from latchkey.store.protocols import AccountStore


@dataclass(frozen=True, slots=True)
class AccountPage:
    """One page of a listing; ``next_before`` continues it, None at the end."""

    accounts: list[Account]
    next_before: int | None


class AccountService:
    """The operations on accounts, over a store and a publisher.

    A ``caller`` is the key that makes the request, None for the operator. It has to be a key of the
    instance account, and for changes of accounts a live one: NeedsInstanceAccount. The route checks
    its scope; a change reads the key again inside its transaction, as in CredentialService, and
    takes effect in every worker before it returns.
    """

    def __init__(self, store: AccountStore, publisher: Publisher) -> None:
        self._store = store
        self._publisher = publisher

    def instance(self) -> Account:
        """The instance account, to which the operator's own keys belong."""
        return self._store.instance()

    def get(self, account_id: str, caller: Principal | None = None) -> Account:
        """One account; raises AccountNotFound."""
        require_instance_key(caller)
        found = self._store.find(account_id)
        if found is None:
            raise AccountNotFound
        return found

    def named(self, reference: str) -> Account:
        """The account that the operator names by its id or its external id.

        An id takes precedence. Raises AccountNotFound.
        """
        found = self._store.find(reference) if is_account_id(reference) else None
        if found is None and is_external_id(reference):
            found = self._store.find_external(reference)
        if found is None:
            raise AccountNotFound("No such account; name it by its id (acct_…) or its external id")
        return found

    def page(
        self,
        caller: Principal | None,
        limit: int,
        before: int | None = None,
        *,
        external_id: str | None = None,
    ) -> AccountPage:
        """A page of all accounts, or of the one with an external id, newest first."""
        require_instance_key(caller)
        rows = self._store.page(AccountSelection(external_id=external_id), limit + 1, before)
        more = len(rows) > limit
        rows = rows[:limit]
        return AccountPage(rows, rows[-1].number if more else None)

    def newest(self, selection: AccountSelection, limit: int | None) -> Iterator[Account]:
        """The selected accounts, newest first, read in batches; None is no limit."""
        return self._store.newest(selection, limit)

    def create(
        self,
        *,
        name: str,
        external_id: str | None = None,
        metadata: str | None = None,
        limits: Sequence[Limit] = (),
        caller: Principal | None,
        by: Actor,
    ) -> Account:
        """Create an account; ``metadata`` is the JSON of an object, ``limits`` apply in each mode.

        Raises DuplicateExternalId, and InvalidField for metadata that is too large and for texts
        that hold a secret.
        """
        require_live_instance_key(caller)
        _check(AccountChange(name, external_id, metadata))
        new = NewAccount(
            *(f"{ACCOUNT_PREFIX}{new_id()}", name, external_id or None, metadata or None),
            utc_now(),
            checked_limits(limits),
        )
        author = Author(by, caller, CHANGE_ACCOUNTS)
        return self._publisher.publish(self._store.add(lambda caller: new, author))

    def change(
        self, account_id: str, terms: AccountChange, caller: Principal | None, *, by: Actor
    ) -> Account:
        """Give an account new terms.

        Disabling it refuses all its keys, and enabling it accepts them again. Raises
        DuplicateExternalId, AccountNotFound, and InvalidField for disabling the instance account,
        for enabling an erased account, and as for ``create``.
        """
        require_live_instance_key(caller)
        _check(terms)
        checked_limits(terms.limits or ())

        def decide(caller: Credential | None, found: Account) -> AccountChange:
            if found.is_instance and terms.status == "disabled":
                raise InvalidField("status", "the instance account cannot be disabled")
            if found.erased_at is not None and terms != AccountChange():
                raise InvalidField("status", "an erased account cannot be changed")
            return terms

        if terms == AccountChange():
            return self.get(account_id, caller)
        author = Author(by, caller, CHANGE_ACCOUNTS)
        return self._publisher.publish(self._store.change(account_id, utc_now(), decide, author))

    def revoke_keys(
        self,
        account_id: str,
        mode: Mode | None,
        caller: Principal | None,
        *,
        dry_run: bool = False,
        by: Actor,
    ) -> RevokedKeys:
        """Revoke all keys of an account in ``mode`` (None: both), or only count them.

        A caller revokes those of its own mode. Raises AccountNotFound.
        """
        require_instance_key(caller)
        if caller is not None:
            mode = caller.mode
        if dry_run:
            return self._store.revocable(account_id, mode)
        author = Author(by, caller, CHANGE_ACCOUNTS)
        return self._publisher.publish(self._store.revoke_keys(account_id, mode, utc_now(), author))

    def erase(self, account_id: str, *, by: Actor) -> ErasedAccount:
        """Erase an account, and revoke all its keys; only the operator can.

        Effective in every worker before it returns. Raises AccountNotFound, and InvalidField for
        the instance account.
        """
        author = Author(by, None, CHANGE_ACCOUNTS)
        return self._publisher.publish(self._store.erase(account_id, utc_now(), author))


def require_instance_key(caller: Principal | None) -> None:
    """Raise NeedsInstanceAccount for a key of another account; None is the operator."""
    if caller is not None and not caller.in_instance_account:
        raise NeedsInstanceAccount


def require_live_instance_key(caller: Principal | None) -> None:
    """Raise NeedsInstanceAccount unless the key is a live one of the instance account."""
    require_instance_key(caller)
    if caller is not None and caller.mode != "live":
        raise NeedsInstanceAccount("Accounts can only be changed with a live key")


def _check(terms: AccountChange) -> None:
    for field in ("name", "external_id", "metadata"):
        text = getattr(terms, field)
        if text is not None and redact_secrets(text) != text:
            raise InvalidField(field, "contains what looks like an API secret")
    if terms.external_id and not is_external_id(terms.external_id):
        raise InvalidField("external_id", "1 to 255 visible ASCII characters, without spaces")
    if terms.metadata is not None and len(terms.metadata.encode()) > LARGEST_METADATA:
        raise InvalidField("metadata", f"at most {LARGEST_METADATA} bytes of JSON")
