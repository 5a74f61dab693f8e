"""The pages that create a key, whose secret is shown once, and register an existing pair."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, request, url_for
from werkzeug.wrappers import Response

from latchkey.credentials.accounts import Account
from latchkey.credentials.tokens import MalformedToken, api_key_from, check_api_key
from latchkey.errors import AccountNotFound, DuplicateApiKey, InvalidField, NotDerived
from latchkey_service.console.account_lookup import named_account, newest_accounts
from latchkey_service.console.answers import page
from latchkey_service.console.forms import show_fault
from latchkey_service.console.key_forms import CreateForm, RegisterForm
from latchkey_service.console.keys import as_of, described_credential
from latchkey_service.console.list_query import ListQuery
from latchkey_service.console.sessions import latchkey, signed_in_actor
from latchkey_service.shapes.problems import validated
from latchkey_service.shapes.requests import IssueBody, RegisterBody

key_making = Blueprint("key_making", __name__, url_prefix="/console/keys")


@key_making.get("/new")
def show_create() -> Response:
    """Show the form for a new key."""
    form = CreateForm()
    form.offer(latchkey().settings.scopes)
    form.show_account(ListQuery.of(request.args).account)
    form.draw()
    try:
        account = _account_of(form)
    except InvalidField as error:
        show_fault(form, error)
        return _create_page(form)
    return _create_page(form, account=account)


@key_making.post("/new")
def create() -> Response:
    """Create a key and show its secret, only in this response.

    A form creates one key. If it is sent again, as when the response is reloaded, the page names
    the key that it created.
    """
    form = CreateForm()
    form.offer(latchkey().settings.scopes)
    if not form.validate():
        if form.form_id.errors:
            form.form_id.data = None
            form.form_errors.append("The form was incomplete. Submit it again.")
        form.draw()
        return _create_page(form, 400)
    seed = (form.form_id.data or "").encode()
    try:
        account = _account_of(form)
        if account is not None and not account.is_instance:
            form.require_chosen_access()
        body = validated(IssueBody, {**form.terms(), "mode": form.mode.data})
        terms = body.terms()
        if account is not None:
            terms["account"] = account.id
        issued = latchkey().credentials.issue(caller=None, by=signed_in_actor(), seed=seed, **terms)
    except InvalidField as error:
        show_fault(form, error)
        return _create_page(form, 400)
    except DuplicateApiKey:
        return page("key_made.html", 409, api_key=api_key_from(body.mode, seed))
    return page(
        "key_secret.html",
        201,
        title="Key created",
        secret=issued.secret,
        predecessor=None,
        **described_credential(issued.credential, as_of()),
    )


def _account_of(form: CreateForm) -> Account | None:
    """The account that was entered, None for the instance account; raises InvalidField."""
    try:
        account = named_account(form.account.data)
    except AccountNotFound:
        problem = "there is no account with this id or external id"
        raise InvalidField("account", problem) from None
    if account is not None and account.erased_at is not None:
        raise InvalidField("account", "this account was erased; enter another one")
    return account


def _create_page(form: CreateForm, code: int = 200, *, account: Account | None = None) -> Response:
    context = {"account": account, "newest_accounts": newest_accounts()}
    return page("key_create.html", code, form_fields=form, **context)


@key_making.get("/register")
def show_register() -> Response:
    """Show the form to register a pair that was created elsewhere."""
    return page("key_register.html", form_fields=RegisterForm())


@key_making.post("/register")
def register() -> Response:
    """Register a pair that the vendor created. Wrong secrets count as failures of the client."""
    form = RegisterForm()
    if not form.validate():
        return page("key_register.html", 400, form_fields=form)
    parts = latchkey()
    try:
        body = validated(RegisterBody, form.body())
        credential = parts.credentials.register(
            check_api_key(body.api_key), body.api_secret, body.name, by=signed_in_actor()
        )
    except InvalidField as error:
        show_fault(form, error)
        return page("key_register.html", 400, form_fields=form)
    except MalformedToken as error:
        show_fault(form, InvalidField("api_key", str(error)))
        return page("key_register.html", 400, form_fields=form)
    except NotDerived as error:
        parts.throttle.count_failure(request.environ)
        show_fault(form, InvalidField("api_secret", error.message))
        return page("key_register.html", error.status, form_fields=form)
    except DuplicateApiKey as error:
        show_fault(form, InvalidField("api_key", error.message))
        return page("key_register.html", error.status, form_fields=form)
    flash("Key registered. It has full access and does not expire.", "good")
    return redirect(url_for("keys.show_key", api_key=credential.api_key), 303)
