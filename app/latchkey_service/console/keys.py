"""The list of keys, and the page of one key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Blueprint, render_template, request

from latchkey.credentials.audit import AuditFilter
from latchkey.credentials.listing import CONCERNS, STATUSES, AsOf, Found, Selection
from latchkey.credentials.models import MODES, Credential
from latchkey.credentials.times import utc_now
from latchkey.credentials.tokens import MalformedToken, check_api_key
from latchkey.errors import AccountNotFound, CredentialNotFound
from latchkey.wording import counted
from latchkey_service.console.account_lookup import named_account, newest_accounts
from latchkey_service.console.answers import ROWS_OF_A_PAGE, page_count
from latchkey_service.console.limit_levels import limits_of_key
from latchkey_service.console.list_query import ListQuery
from latchkey_service.console.plots import plot_days, plot_hours
from latchkey_service.console.sessions import latchkey

keys = Blueprint("keys", __name__, url_prefix="/console/keys")

_ENTRIES = 20
COLUMNS = (
    ("name", "Name and key"),
    (None, "Account"),
    (None, "Mode"),
    (None, "Scopes"),
    ("created", "Created"),
    ("last_used", "Last used"),
    ("expires", "Expires"),
    ("status", "Status"),
)


@keys.get("/")
def show_list() -> str:
    """List all keys, or those that match the search and the filters."""
    query = ListQuery.of(request.args)
    now = as_of()
    try:
        account = named_account(query.account)
    except AccountNotFound:
        return _page(query, account=None, unknown_account=True)
    selection = query.selection(None if account is None else account.id)
    found = _found(selection, query, now)
    pages = page_count(found.total)
    if query.page > pages:
        query = query.on_page(pages)
        found = _found(selection, query, now)
    return _page(
        query,
        account=account,
        total=f"{'more than ' if found.is_more else ''}{counted(found.total, 'key')}",
        page_count=pages,
        rows=[described_credential(credential, now) for credential in found.page],
    )


def _found(selection: Selection, query: ListQuery, now: AsOf) -> Found:
    offset = (query.page - 1) * ROWS_OF_A_PAGE
    listing = latchkey().store.listing
    return listing.found(selection, query.order, now, limit=ROWS_OF_A_PAGE, offset=offset)


def _page(query: ListQuery, **context: Any) -> str:
    return render_template(
        "keys.html",
        query=query,
        newest_accounts=newest_accounts(),
        columns=COLUMNS,
        modes=MODES,
        statuses=STATUSES,
        concerns=CONCERNS,
        **context,
    )


@keys.get("/<api_key>")
def show_key(api_key: str) -> str:
    """Show one key with its usage and history."""
    credential = find_credential(api_key)
    now, usage = as_of(), latchkey().usage.usage(credential)
    limits = limits_of_key(credential)
    return render_template(
        "key.html",
        **described_credential(credential, now),
        usage=usage,
        limits=limits,
        can_reset=not all(one.is_of_account for one in limits),
        hours=plot_hours(usage.hours, now.now, usage.limited),
        days=plot_days(usage.hours, now.now, usage.limited),
        entries=latchkey().store.audit.page(AuditFilter(subject=api_key), _ENTRIES),
    )


def find_credential(api_key: str) -> Credential:
    """The credential in the URL of a page; raises CredentialNotFound."""
    try:
        return latchkey().credentials.get(check_api_key(api_key), None)
    except MalformedToken:
        raise CredentialNotFound from None


def as_of() -> AsOf:
    """The current time, and the age at which a key is due for rotation."""
    return AsOf(utc_now(), timedelta(days=latchkey().settings.rotation_days))


def described_credential(credential: Credential, now: AsOf) -> dict[str, Any]:
    """The template variables of a credential, including its last use."""
    last_used_at = latchkey().usage.last_used_at(credential)
    return {
        "credential": credential,
        "status": credential.status(now.now),
        "last_used_at": last_used_at,
        "concerns": now.concerns(credential, last_used_at),
        "rotate_by": credential.rotate_by(now.rotation_age),
    }
