"""The forms of the console: fields, and the links to their hints and error messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from flask_wtf import FlaskForm
from markupsafe import Markup
from wtforms import Field, HiddenField, PasswordField, RadioField, StringField
from wtforms.validators import EqualTo, InputRequired, Length

from latchkey.credentials.tokens import redact_secrets
from latchkey.errors import InvalidField
from latchkey_service.administrators import passwords

_NEW = {"autocomplete": "new-password", "minlength": passwords.SHORTEST_PASSWORD}
_CURRENT = {"autocomplete": "current-password"}
_NAME = {"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}
_REMOVED = "This contained an API secret, which has been removed. Enter another text."
_NEW_LENGTH = Length(
    min=passwords.SHORTEST_PASSWORD,
    max=passwords.LONGEST_PASSWORD,
    message=f"Use {passwords.SHORTEST_PASSWORD} to {passwords.LONGEST_PASSWORD} characters.",
)
# Fields whose element shows what was sent.
_SHOWN_AGAIN = ("StringField", "TextAreaField")


class Tie(NamedTuple):
    """The radio button of a field: the field is used only while the button is selected."""

    group: str
    choice: str

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes for console.js, which selects the button when the field is filled in."""
        return {"data-group": self.group, "data-choice": self.choice}


class ConsoleForm(FlaskForm):  # type: ignore[misc]
    """The base of all forms. A page never shows a secret that was pasted into a field.

    The page with the error messages is visible on a screen and may be saved. ``ties`` lists fields
    that belong to a radio button: filling them in while another button is selected is an error.
    """

    ties: ClassVar[Mapping[str, Tie]] = {}

    def validate(self, extra_validators: Mapping[str, Any] | None = None) -> bool:
        """Whether all fields are valid. A text field that contains a secret is invalid."""
        is_valid: bool = super().validate(extra_validators)
        for name, tie in self.ties.items():
            field, group = self[name], self[tie.group]
            if _is_filled_in(field) and group.data != tie.choice:
                is_valid = False
                if not field.errors and not group.errors:
                    field.errors = [_contradiction(group, tie.choice)]
        for field in self:
            if field.type in _SHOWN_AGAIN and _holds_secret(field):
                field.errors = [*field.errors, _REMOVED]
                is_valid = False
        return is_valid

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        """Rendering of the fields."""

        def render_field(self, field: Field, render_kw: dict[str, Any]) -> Markup:
            """Called for each element of the form."""
            if _holds_secret(field):
                if field.type == "TextAreaField":
                    # Its content is rendered, and not an attribute.
                    field.data, field.raw_data = "", None
                else:
                    render_kw = {**render_kw, "value": ""}
            element: Markup = super().render_field(field, render_kw)
            return element


class SignInForm(ConsoleForm):
    """The sign-in form; ``next`` is the page to show after it."""

    name = StringField("Name", [InputRequired("Enter your name.")], render_kw=_NAME)
    password = PasswordField(
        "Password", [InputRequired("Enter your password.")], render_kw=_CURRENT
    )
    next = HiddenField()


class SetUpForm(ConsoleForm):
    """The form for the first administrator; ``token`` comes from the set-up link."""

    token = HiddenField()
    name = StringField("Name", [InputRequired("Choose a name.")], render_kw=_NAME)
    password = PasswordField("Password", [_NEW_LENGTH], render_kw=_NEW)
    again = PasswordField(
        "Repeat password",
        [EqualTo("password", "The passwords do not match.")],
        render_kw=_NEW,
    )


class PasswordForm(ConsoleForm):
    """The form to change the own password."""

    current = PasswordField(
        "Current password", [InputRequired("Enter your current password.")], render_kw=_CURRENT
    )
    password = PasswordField("New password", [_NEW_LENGTH], render_kw=_NEW)
    again = PasswordField(
        "Repeat new password",
        [EqualTo("password", "The passwords do not match.")],
        render_kw=_NEW,
    )


def add_fault(form: FlaskForm, error: InvalidField) -> None:
    """Show an error at its field, or at the top of the form if the form has no such field."""
    problem = error.message.partition(": ")[2]
    text = f"{problem[:1].upper()}{problem[1:]}."
    field: Field | None = form._fields.get(error.field)
    if field is None:
        form.form_errors.append(text)
    else:
        field.errors = [*field.errors, text]


def show_fault(form: FlaskForm, error: InvalidField) -> None:
    """Show an error at its field. For an item of a list, the name ends with its number."""
    field, _, _ = error.field.partition(".")
    add_fault(form, InvalidField(field, error.message.partition(": ")[2]))


def described(field: Field, hint: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a field's element, including the references to its hint and error."""
    described_by = [f"{field.id}-hint"] if hint else []
    made: dict[str, Any] = dict(attributes)
    if field.errors:
        described_by.append(f"{field.id}-error")
        made["aria-invalid"] = "true"
    if described_by:
        made["aria-describedby"] = " ".join(described_by)
    return made


def _is_filled_in(field: Field) -> bool:
    """Whether a field was sent with more than blanks."""
    return any(str(value).strip() for value in field.raw_data or ())


def _contradiction(group: RadioField, needed: str) -> str:
    labels = {option.data: option.label.text for option in group}
    return (
        f"This field is filled in, but {group.label.text} is “{labels.get(group.data, '')}”. "
        f"Choose “{labels[needed]}”, or clear this field."
    )


def _holds_secret(field: Field) -> bool:
    """Whether the element of a field would show a secret."""
    value = field._value() if hasattr(field, "_value") else ""
    return redact_secrets(value) != value
