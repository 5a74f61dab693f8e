"""The console's forms: fields, and how their hints and faults are tied to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask_wtf import FlaskForm
from wtforms import Field, HiddenField, PasswordField, StringField
from wtforms.validators import EqualTo, InputRequired, Length

from app.administrators import passwords
from app.errors import InvalidField

_NEW = {"autocomplete": "new-password", "minlength": passwords.SHORTEST}
_CURRENT = {"autocomplete": "current-password"}
_NAME = {"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}
_NEW_LENGTH = Length(
    min=passwords.SHORTEST,
    max=passwords.LONGEST,
    message=f"Use {passwords.SHORTEST} characters or more.",
)


class SignInForm(FlaskForm):  # type: ignore[misc]
    """Who it is; ``next`` is the page that was asked for."""

    name = StringField("Name", [InputRequired("Enter your name.")], render_kw=_NAME)
    password = PasswordField(
        "Password", [InputRequired("Enter your password.")], render_kw=_CURRENT
    )
    next = HiddenField()


class SetUpForm(FlaskForm):  # type: ignore[misc]
    """The first administrator; ``token`` is the set-up link's."""

    token = HiddenField()
    name = StringField("Name", [InputRequired("Choose a name.")], render_kw=_NAME)
    password = PasswordField("Password", [_NEW_LENGTH], render_kw=_NEW)
    again = PasswordField(
        "Password, again",
        [EqualTo("password", "This is not the same password.")],
        render_kw=_NEW,
    )


class PasswordForm(FlaskForm):  # type: ignore[misc]
    """Another password for oneself."""

    current = PasswordField(
        "Current password", [InputRequired("Enter your current password.")], render_kw=_CURRENT
    )
    password = PasswordField("New password", [_NEW_LENGTH], render_kw=_NEW)
    again = PasswordField(
        "New password, again",
        [EqualTo("password", "This is not the same password.")],
        render_kw=_NEW,
    )


def add_fault(form: FlaskForm, error: InvalidField) -> None:
    """Show what is wrong with a field beside it; with a field that is not there, with the form."""
    problem = error.message.partition(": ")[2]
    text = f"{problem[:1].upper()}{problem[1:]}."
    field: Field | None = form._fields.get(error.field)
    if field is None:
        form.form_errors.append(text)
    else:
        field.errors = [*field.errors, text]


def described(field: Field, hint: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a field's element: those given, and which texts of the page describe it."""
    described_by = [f"{field.id}-hint"] if hint else []
    made: dict[str, Any] = dict(attributes)
    if field.errors:
        described_by.append(f"{field.id}-error")
        made["aria-invalid"] = "true"
    if described_by:
        made["aria-describedby"] = " ".join(described_by)
    return made
