"""The pages that create, edit, disable and enable an account, and revoke its keys."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, flash, redirect, url_for
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response

from latchkey.credentials.accounts import Account, AccountChange, AccountStatus
from latchkey.credentials.models import MODES, Mode
from latchkey.errors import AccountNotFound, DuplicateExternalId, InvalidField
from latchkey.wording import counted
from latchkey_service.console.account_forms import AccountForm, RevokeKeysForm
from latchkey_service.console.account_lookup import find_account
from latchkey_service.console.answers import page
from latchkey_service.console.forms import show_fault
from latchkey_service.console.sessions import latchkey, signed_in_actor
from latchkey_service.shapes.accounts import AccountChangeBody, NewAccountBody
from latchkey_service.shapes.limits import limits_of
from latchkey_service.shapes.problems import validated

account_changes = Blueprint("account_changes", __name__, url_prefix="/console/accounts")


@account_changes.get("/new")
def show_create() -> Response:
    """Show the form for a new account."""
    return page("account_create.html", form_fields=AccountForm())


@account_changes.post("/new")
def create() -> Response:
    """Create an account."""
    form, code = AccountForm(), 400
    if form.validate():
        try:
            body = validated(NewAccountBody, form.body())
            account = latchkey().accounts.create(
                name=body.name,
                external_id=body.external_id,
                metadata=body.metadata_text(),
                limits=limits_of(body.limits),
                caller=None,
                by=signed_in_actor(),
            )
        except (InvalidField, DuplicateExternalId) as error:
            code = _show_error(form, error)
        else:
            flash("Account created. It has no keys yet.", "good")
            return _redirect(account)
    return page("account_create.html", code, form_fields=form)


@account_changes.get("/<account_id>/edit")
def show_edit(account_id: str) -> Response:
    """Show the form for the terms of an account."""
    account, form = _changeable(account_id), AccountForm()
    form.show(account)
    return page("account_edit.html", account=account, form_fields=form)


@account_changes.post("/<account_id>/edit")
def edit(account_id: str) -> Response:
    """Change an account. The change takes effect before the response."""
    account, form, code = _changeable(account_id), AccountForm(), 400
    if form.validate():
        try:
            body = validated(AccountChangeBody, form.body(account.limits.definitions))
            _change(account, replace(body.change(), keeps_totals=True))
        except (InvalidField, DuplicateExternalId) as error:
            code = _show_error(form, error)
        else:
            flash("Account updated. The change has taken effect.", "good")
            return _redirect(account)
    return page("account_edit.html", code, account=account, form_fields=form)


@account_changes.get("/<account_id>/disable")
def show_disable(account_id: str) -> Response:
    """Ask whether to disable an account."""
    return _ask(_switchable(account_id), "account_disable.html")


@account_changes.post("/<account_id>/disable")
def disable(account_id: str) -> Response:
    """Disable an account. All its keys are refused before the response."""
    done = "Account disabled. All requests with its keys are refused."
    return _switch(account_id, "disabled", done)


@account_changes.get("/<account_id>/enable")
def show_enable(account_id: str) -> Response:
    """Ask whether to enable an account."""
    return _ask(_switchable(account_id), "account_enable.html")


@account_changes.post("/<account_id>/enable")
def enable(account_id: str) -> Response:
    """Enable an account. Its keys are accepted before the response."""
    return _switch(account_id, "active", "Account enabled. Its keys are accepted again.")


@account_changes.get("/<account_id>/revoke-keys")
def show_revoke_keys(account_id: str) -> Response:
    """Show how many keys would be revoked in each mode."""
    return _ask_revoke(_changeable(account_id), RevokeKeysForm())


@account_changes.post("/<account_id>/revoke-keys")
def revoke_keys(account_id: str) -> Response:
    """Revoke the keys of an account in one mode or both. Takes effect before the response."""
    account, form = _changeable(account_id), RevokeKeysForm()
    form.offer(_revocable(account))
    if not form.validate():
        return _ask_revoke(account, form, 400)
    done = latchkey().accounts.revoke_keys(account.id, form.mode, None, by=signed_in_actor())
    if done.revoked:
        text = f"{counted(done.revoked, 'key')} revoked. All requests with them are refused."
        flash(text, "good")
    else:
        flash("There was no key left to revoke.", "warn")
    return _redirect(account)


def _changeable(account_id: str) -> Account:
    """The account; raises AccountNotFound also if it was erased."""
    account = find_account(account_id)
    if account.erased_at is not None:
        raise AccountNotFound
    return account


def _switchable(account_id: str) -> Account:
    """The account; raises AccountNotFound also if it cannot be disabled."""
    account = _changeable(account_id)
    if account.is_instance:
        raise AccountNotFound
    return account


def _switch(account_id: str, status: AccountStatus, done: str) -> Response:
    account = _switchable(account_id)
    # Also if the account has this status already: the change is published again.
    _change(account, AccountChange(status=status))
    if account.status == status:
        flash(f"The account was already {status}.", "warn")
    else:
        flash(done, "good")
    return _redirect(account)


def _change(account: Account, terms: AccountChange) -> None:
    latchkey().accounts.change(account.id, terms, None, by=signed_in_actor())


def _revocable(account: Account) -> dict[Mode, int]:
    """The number of keys that can be revoked, by mode."""
    service, by = latchkey().accounts, signed_in_actor()
    return {
        mode: service.revoke_keys(account.id, mode, None, dry_run=True, by=by).matched
        for mode in MODES
    }


def _show_error(form: AccountForm, error: InvalidField | DuplicateExternalId) -> int:
    """Show an error at its field; returns the status of the response."""
    if isinstance(error, DuplicateExternalId):
        show_fault(form, InvalidField("external_id", error.message))
    else:
        show_fault(form, error)
    return error.status


def _ask(account: Account, template: str) -> Response:
    counts = latchkey().store.accounts.key_counts([account.id])
    return page(template, account=account, key_count=counts[account.id], form_fields=FlaskForm())


def _ask_revoke(account: Account, form: RevokeKeysForm, code: int = 200) -> Response:
    numbers = _revocable(account)
    form.offer(numbers)
    context = {"account": account, "key_count": sum(numbers.values()), "form_fields": form}
    return page("account_revoke_keys.html", code, **context)


def _redirect(account: Account) -> Response:
    return redirect(url_for("accounts.show_account", account_id=account.id), 303)
