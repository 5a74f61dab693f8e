"""Lookup of the accounts in the URLs and the forms of the console."""

from __future__ import annotations

from latchkey.credentials.accounts import Account, AccountSelection, is_account_id
from latchkey.errors import AccountNotFound
from latchkey_service.console.sessions import latchkey

_OFFERED = 50


def find_account(account_id: str) -> Account:
    """The account in the URL of a page; raises AccountNotFound."""
    if not is_account_id(account_id):
        raise AccountNotFound
    return latchkey().accounts.get(account_id)


def named_account(reference: str | None) -> Account | None:
    """The account that was entered by its id or external id, None for a blank text.

    Raises AccountNotFound.
    """
    text = (reference or "").strip()
    return latchkey().accounts.named(text) if text else None


def newest_accounts() -> list[Account]:
    """The newest accounts except the instance account, as choices for a field."""
    found = latchkey().accounts.newest(AccountSelection(), _OFFERED)
    return [account for account in found if not account.is_instance and account.erased_at is None]
