"""The pages that edit, rotate and revoke a key."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, flash, redirect, url_for
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response

from latchkey.credentials.models import Credential
from latchkey.errors import AlreadyRotated, CredentialNotFound, InvalidField, KeyExpired
from latchkey_service.console.answers import page
from latchkey_service.console.forms import show_fault
from latchkey_service.console.key_forms import ChangeForm, RotateForm, own_limits
from latchkey_service.console.keys import as_of, described_credential, find_credential
from latchkey_service.console.sessions import latchkey, signed_in_actor
from latchkey_service.shapes.problems import validated
from latchkey_service.shapes.requests import ChangeBody, RotateBody

key_changes = Blueprint("key_changes", __name__, url_prefix="/console/keys")


@key_changes.get("/<api_key>/edit")
def show_edit(api_key: str) -> Response:
    """Show the form for the name, scopes and expiry of a key."""
    credential = _changeable(api_key)
    form = ChangeForm()
    form.offer(latchkey().settings.scopes, credential.scopes)
    form.show(credential)
    return _page("key_edit.html", credential, form_fields=form)


@key_changes.post("/<api_key>/edit")
def edit(api_key: str) -> Response:
    """Change a key. The change takes effect before the response."""
    credential, form = _changeable(api_key), ChangeForm()
    form.offer(latchkey().settings.scopes, credential.scopes)
    if not form.validate():
        return _page("key_edit.html", credential, 400, form_fields=form)
    form.may_be_nameless = credential.name is None
    try:
        body = validated(ChangeBody, form.terms(own_limits(credential)))
        terms = replace(body.change(), keeps_totals=True)
        latchkey().credentials.change(api_key, terms, None, by=signed_in_actor())
    except InvalidField as error:
        show_fault(form, error)
        return _page("key_edit.html", credential, 400, form_fields=form)
    flash("Key updated. The change has taken effect.", "good")
    return redirect(url_for("keys.show_key", api_key=api_key), 303)


@key_changes.get("/<api_key>/rotate")
def show_rotate(api_key: str) -> Response:
    """Show the form for a successor."""
    return _page("key_rotate.html", _changeable(api_key), form_fields=RotateForm())


@key_changes.post("/<api_key>/rotate")
def rotate(api_key: str) -> Response:
    """Create a successor and show its secret, only in this response.

    If the form is sent again, the key has already been rotated.
    """
    credential, form = _changeable(api_key), RotateForm()
    if not form.validate():
        return _page("key_rotate.html", credential, 400, form_fields=form)
    try:
        overlap = validated(RotateBody, form.body()).overlap
        issued = latchkey().credentials.rotate(api_key, None, overlap, by=signed_in_actor())
    except InvalidField as error:
        show_fault(form, error)
        return _page("key_rotate.html", credential, 400, form_fields=form)
    except (AlreadyRotated, KeyExpired) as error:
        credential = find_credential(api_key)
        return _page("key_rotate.html", credential, error.status, form_fields=form, refused=True)
    return page(
        "key_secret.html",
        201,
        title="Key rotated",
        secret=issued.secret,
        predecessor=find_credential(api_key),
        **described_credential(issued.credential, as_of()),
    )


@key_changes.get("/<api_key>/revoke")
def show_revoke(api_key: str) -> Response:
    """Show the key to be revoked, and when it was last used."""
    return _page("key_revoke.html", _changeable(api_key), form_fields=FlaskForm())


@key_changes.post("/<api_key>/revoke")
def revoke(api_key: str) -> Response:
    """Revoke a key. Takes effect before the response. A repeated form is answered with a note."""
    try:
        latchkey().credentials.revoke(find_credential(api_key).api_key, None, by=signed_in_actor())
    except CredentialNotFound:
        if find_credential(api_key).revoked_at is None:
            raise
        flash("The key had already been revoked.", "warn")
    else:
        flash("Key revoked. All requests with it are refused.", "good")
    return redirect(url_for("keys.show_key", api_key=api_key), 303)


def _changeable(api_key: str) -> Credential:
    """The credential; raises CredentialNotFound also if it is revoked."""
    credential = find_credential(api_key)
    if credential.revoked_at is not None:
        raise CredentialNotFound
    return credential


def _page(
    template: str,
    credential: Credential,
    code: int = 200,
    *,
    form_fields: FlaskForm,
    refused: bool = False,
) -> Response:
    about = described_credential(credential, as_of())
    return page(template, code, form_fields=form_fields, refused=refused, **about)
