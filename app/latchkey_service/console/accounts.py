"""The list of accounts, and the page of one account."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from flask import Blueprint, render_template, request

from latchkey.credentials.audit import AuditFilter
from latchkey.credentials.listing import Order, Selection
from latchkey.credentials.models import MODES
from latchkey_service.console.account_lookup import find_account
from latchkey_service.console.answers import ROWS_OF_A_PAGE, page_count
from latchkey_service.console.keys import as_of, described_credential
from latchkey_service.console.limit_levels import limits_of_account
from latchkey_service.console.list_query import AccountListQuery
from latchkey_service.console.plots import plot_days, plot_hours
from latchkey_service.console.sessions import latchkey

accounts = Blueprint("accounts", __name__, url_prefix="/console/accounts")

_SHOWN_KEYS = 10
_ENTRIES = 20
_SUMMED = 1_000
"""For more keys than this, the requests are summed only on request, because it takes long."""


@accounts.get("/")
def show_list() -> str:
    """List all accounts, or those that match the search and the filter."""
    query, store = AccountListQuery.of(request.args), latchkey().store.accounts
    total = store.count(query.selection)
    pages = page_count(total)
    query = query.on_page(min(query.page, pages))
    rows = store.page(query.selection, ROWS_OF_A_PAGE, offset=(query.page - 1) * ROWS_OF_A_PAGE)
    return render_template(
        "accounts.html",
        query=query,
        total=total,
        page_count=pages,
        rows=rows,
        key_counts=store.key_counts([account.id for account in rows]),
    )


@accounts.get("/<account_id>")
def show_account(account_id: str) -> str:
    """Show one account with its newest keys and its history."""
    account, parts, now = find_account(account_id), latchkey(), as_of()
    owned = Selection(account_id=account.id)
    newest = parts.store.listing.page(owned, Order(), now, limit=_SHOWN_KEYS)
    total = parts.store.listing.count(owned, now)
    sums = total <= _SUMMED or "usage" in request.args
    return render_template(
        "account.html",
        account=account,
        key_count=parts.store.accounts.key_counts([account.id])[account.id],
        total=total,
        limits=limits_of_account(account),
        usage=_usage(account.id, now.now) if sums else None,
        rows=[described_credential(credential, now) for credential in newest],
        entries=parts.store.audit.page(AuditFilter(subject=account.id), _ENTRIES),
    )


def _usage(account_id: str, now: datetime) -> dict[str, Any]:
    """The use of an account's keys: the sums of each mode, and plots of both together."""
    reader = latchkey().usage
    by_mode = {mode: reader.usage_of_account(account_id, mode) for mode in MODES}
    hours: Counter[datetime] = Counter()
    limited: Counter[datetime] = Counter()
    for usage in by_mode.values():
        hours.update(usage.hours)
        limited.update(usage.limited)
    return {
        "modes": by_mode,
        "hours": plot_hours(hours, now, limited),
        "days": plot_days(hours, now, limited),
    }
