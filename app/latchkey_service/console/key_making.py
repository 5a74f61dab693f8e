"""The pages that create a key, whose secret is shown once, and register an existing pair."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, request, url_for
from werkzeug.wrappers import Response

from latchkey.credentials.tokens import MalformedToken, api_key_from, check_api_key
from latchkey.errors import DuplicateApiKey, InvalidField, NotDerived
from latchkey_service.console.answers import page
from latchkey_service.console.key_forms import CreateForm, RegisterForm, show_fault, validated_body
from latchkey_service.console.keys import as_of, described_credential
from latchkey_service.console.sessions import latchkey, signed_in_actor
from latchkey_service.shapes.requests import IssueBody, RegisterBody

key_making = Blueprint("key_making", __name__, url_prefix="/console/keys")


@key_making.get("/new")
def show_create() -> Response:
    """Show the form for a new key."""
    form = CreateForm()
    form.offer(latchkey().settings.scopes)
    form.draw()
    return page("key_create.html", form_fields=form)


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
        return page("key_create.html", 400, form_fields=form)
    seed = (form.form_id.data or "").encode()
    try:
        body = validated_body(IssueBody, {**form.terms(), "mode": form.mode.data})
        issued = latchkey().credentials.issue(
            caller=None, by=signed_in_actor(), seed=seed, **body.terms()
        )
    except InvalidField as error:
        show_fault(form, error)
        return page("key_create.html", 400, form_fields=form)
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
        body = validated_body(RegisterBody, form.body())
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
