"""The pages that reset limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, flash, redirect, url_for
from werkzeug.wrappers import Response
from wtforms import RadioField

from latchkey.credentials.accounts import Account
from latchkey.credentials.listing import LimitSharing
from latchkey.credentials.models import Credential
from latchkey.errors import AccountNotFound, CredentialNotFound, InvalidField
from latchkey_service.console.account_lookup import find_account
from latchkey_service.console.answers import page
from latchkey_service.console.forms import ConsoleForm
from latchkey_service.console.keys import find_credential
from latchkey_service.console.limit_levels import (
    ShownLimit,
    limit_resets,
    limits_of_account,
    limits_of_key,
)
from latchkey_service.console.sessions import latchkey, signed_in_actor

limits = Blueprint("limits", __name__, url_prefix="/console")

_ALL = ("", "All limits")


class ResetForm(ConsoleForm):
    """The form to reset limits: all of a key or an account, or one."""

    limit = RadioField("Limits to reset", default="")

    def offer(self, names: Sequence[str]) -> None:
        """Offer all limits together and, if there are several, each of them."""
        each = [(name, f"Only {name}") for name in names]
        self.limit.choices = [_ALL, *(each if len(each) > 1 else [])]


@limits.get("/keys/<api_key>/reset-limits")
def show_reset_key(api_key: str) -> Response:
    """Ask whether to reset the limits of a key, or those that it shares."""
    return _ask(_resettable_key(api_key), ResetForm())


@limits.post("/keys/<api_key>/reset-limits")
def reset_key(api_key: str) -> Response:
    """Reset limits of a key. Takes effect before the response."""
    back = url_for("keys.show_key", api_key=api_key)
    return _reset(_resettable_key(api_key), back)


@limits.get("/accounts/<account_id>/reset-limits")
def show_reset_account(account_id: str) -> Response:
    """Ask whether to reset the limits of an account."""
    return _ask(_resettable_account(account_id), ResetForm())


@limits.post("/accounts/<account_id>/reset-limits")
def reset_account(account_id: str) -> Response:
    """Reset limits of an account in both modes. Takes effect before the response."""
    back = url_for("accounts.show_account", account_id=account_id)
    return _reset(_resettable_account(account_id), back)


def _resettable_key(api_key: str) -> Credential:
    """The key; raises CredentialNotFound also if it is revoked or has no limits."""
    credential = find_credential(api_key)
    if credential.revoked_at is not None or not limit_resets().service.limits_of(credential):
        raise CredentialNotFound
    return credential


def _resettable_account(account_id: str) -> Account:
    """The account; raises AccountNotFound also if it was erased or has no limits."""
    account = find_account(account_id)
    if account.erased_at is not None or not account.limits.definitions:
        raise AccountNotFound
    return account


def _reset(holder: Credential | Account, back: str) -> Response:
    form = ResetForm()
    form.offer([limit.name for limit in limit_resets().service.limits_of(holder)])
    if not form.validate():
        return _ask(holder, form, 400)
    try:
        chosen = [form.limit.data] if form.limit.data else None
        names = limit_resets().reset(holder, chosen, by=signed_in_actor())
    except InvalidField:
        flash("The limits were changed meanwhile. Nothing was reset.", "warn")
    else:
        flash(f"Limits reset: {', '.join(names)}. The reset has taken effect.", "good")
    return redirect(back, 303)


def _ask(holder: Credential | Account, form: ResetForm, code: int = 200) -> Response:
    form.offer([limit.name for limit in limit_resets().service.limits_of(holder)])
    context: dict[str, Any]
    shown: list[ShownLimit]
    if isinstance(holder, Credential):
        # The limits of its account are not reset.
        shown = [one for one in limits_of_key(holder) if not one.is_of_account]
        context = {
            "credential": holder,
            "account": holder.account,
            "sharing": limit_resets().service.sharing(holder),
            "back": url_for("keys.show_key", api_key=holder.api_key),
        }
    else:
        shown = limits_of_account(holder)
        context = {
            "credential": None,
            "account": holder,
            "sharing": LimitSharing(),
            "back": url_for("accounts.show_account", account_id=holder.id),
        }
    several = latchkey().store.boxes is not None
    return page(
        "limits_reset.html", code, form_fields=form, limits=shown, several_boxes=several, **context
    )
