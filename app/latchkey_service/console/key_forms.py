"""The forms about keys. What is sent is checked as the API checks a body, by the same shapes."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

from flask_wtf import FlaskForm
from pydantic import BaseModel, ValidationError
from wtforms import (
    DateTimeLocalField,
    HiddenField,
    IntegerField,
    PasswordField,
    RadioField,
    SelectMultipleField,
    StringField,
)
from wtforms.validators import InputRequired, Length, NumberRange, Optional
from wtforms.widgets import CheckboxInput, ListWidget

from latchkey.credentials.models import Credential
from latchkey.credentials.scopes import EVERYTHING, KNOWN_SCOPES, READ_EVERYTHING
from latchkey.credentials.times import format_time, utc_now
from latchkey.errors import InvalidField
from latchkey_service.console.forms import ConsoleForm, Tie, add_fault
from latchkey_service.shapes.problems import first_problem

Body = TypeVar("Body", bound=BaseModel)

CHOSEN_SCOPES = [scope for scope in KNOWN_SCOPES if not scope.startswith("*")]

_NAME = {"maxlength": 100, "autocomplete": "off", "required": False}
_FORM_ID_LENGTH = 22
_EXPIRIES = [
    ("never", "Never"),
    ("30", "In 30 days"),
    ("90", "In 90 days"),
    ("365", "In 1 year"),
    ("date", "On a date"),
]
_OVERLAPS = [
    ("0", "None: the old key expires immediately"),
    ("3600", "An hour"),
    ("86400", "A day"),
    ("604800", "A week"),
    ("2592000", "30 days"),
    ("custom", "A number of hours"),
]
_HOUR = 3600
_WHOLE = {frozenset({EVERYTHING}): "full", frozenset({READ_EVERYTHING}): "read"}
_CHOSEN = Tie("access", "chosen")
_DATE = Tie("expiry", "date")
_CUSTOM = Tie("overlap", "custom")


class TermsForm(ConsoleForm):
    """A key's terms, to be made or changed."""

    ties: ClassVar = {"scopes": _CHOSEN, "expires_at": _DATE}

    name = StringField("Name", render_kw=_NAME)
    access = RadioField(
        "Access",
        choices=[
            ("full", "Full access"),
            ("read", "Read only"),
            ("chosen", "Only the scopes chosen below"),
        ],
        default="full",
    )
    scopes = SelectMultipleField(
        "Scopes",
        choices=[(scope, scope) for scope in CHOSEN_SCOPES],
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
        validate_choice=False,
        render_kw=_CHOSEN.attributes,
    )
    expiry = RadioField("Expires", choices=_EXPIRIES, default="never")
    expires_at = DateTimeLocalField(
        "Date and time, in UTC",
        [Optional()],
        format=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
        render_kw=_DATE.attributes,
    )

    may_be_nameless = False
    """Whether the name may be left out; true of a key that has none."""

    def terms(self) -> dict[str, Any]:
        """The name and the scopes as a body of the API has them, the end where one is set."""
        given: dict[str, Any] = {"name": (self.name.data or "").strip(), "scopes": self._scopes()}
        if not given["name"] and not self.may_be_nameless:
            raise InvalidField("name", "enter a name")
        if not given["name"]:
            del given["name"]
        if self.expiry.data != "keep":
            given["expires_at"] = self._end()
        return given

    def _scopes(self) -> list[str]:
        whole = {"full": [EVERYTHING], "read": [READ_EVERYTHING]}
        scopes: list[str] = whole.get(self.access.data or "", self.scopes.data or [])
        if not scopes:
            raise InvalidField("scopes", "choose at least one, or another access")
        return scopes

    def _end(self) -> str | None:
        choice = self.expiry.data or ""
        if choice == "never":
            return None
        if choice != "date":
            return format_time(utc_now() + timedelta(days=int(choice)))
        moment: datetime | None = self.expires_at.data
        if moment is None:
            raise InvalidField("expires_at", "choose a time, or another expiry")
        return format_time(moment.replace(tzinfo=UTC))


class CreateForm(TermsForm):
    """A new key. ``form_id`` is drawn for the page: sent twice, it makes one key."""

    form_id = HiddenField(validators=[Length(_FORM_ID_LENGTH, _FORM_ID_LENGTH)])
    mode = RadioField("Mode", choices=[("live", "Live"), ("test", "Test")], default="live")

    def draw(self) -> None:
        """Give the form an id of its own, where it has none."""
        self.form_id.data = self.form_id.data or secrets.token_urlsafe(16)


class ChangeForm(TermsForm):
    """New terms of a key that is there."""

    expiry = RadioField("Expires", choices=[("keep", "Unchanged"), *_EXPIRIES], default="keep")

    def offer(self, credential: Credential) -> None:
        """Offer what the key has beside what every key may have, so that nothing is lost."""
        if credential.scopes not in _WHOLE:
            more = sorted(credential.scopes.difference(CHOSEN_SCOPES))
            self.scopes.choices = [(scope, scope) for scope in [*CHOSEN_SCOPES, *more]]

    def show(self, credential: Credential) -> None:
        """Fill in what the key has."""
        self.name.data = credential.name
        self.scopes.data = sorted(credential.scopes)
        self.access.data = _WHOLE.get(credential.scopes, "chosen")


class RotateForm(ConsoleForm):
    """For how long the old key goes on working."""

    ties: ClassVar = {"overlap_seconds": _CUSTOM}

    overlap = RadioField("Overlap", choices=_OVERLAPS, default="86400")
    overlap_seconds = IntegerField(
        "Hours, 0 to 720", [Optional(), NumberRange(0, 720)], render_kw=_CUSTOM.attributes
    )

    def body(self) -> dict[str, Any]:
        """What a body of the API has."""
        choice = self.overlap.data or ""
        if choice != "custom":
            return {"overlap_seconds": int(choice)}
        if self.overlap_seconds.data is None:
            raise InvalidField("overlap_seconds", "enter how many hours, or choose another overlap")
        return {"overlap_seconds": self.overlap_seconds.data * _HOUR}


class RegisterForm(ConsoleForm):
    """A pair that was made elsewhere. The secret is never sent back."""

    name = StringField("Name", render_kw=_NAME)
    api_key = StringField(
        "API key",
        [InputRequired("Enter the key, ak_….")],
        render_kw={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"},
    )
    api_secret = PasswordField(
        "API secret",
        [InputRequired("Enter the secret, sk_….")],
        render_kw={"autocomplete": "off"},
    )

    def body(self) -> dict[str, Any]:
        """What a body of the API has."""
        name = (self.name.data or "").strip()
        given = {"api_key": (self.api_key.data or "").strip()}
        given["api_secret"] = (self.api_secret.data or "").strip()
        return {**given, "name": name} if name else given


def validated_body(body: type[Body], given: dict[str, Any]) -> Body:
    """What was given, checked as the HTTP API checks it; raises InvalidField."""
    try:
        return body.model_validate(given)
    except ValidationError as error:
        raise first_problem(error, body) from None


def show_fault(form: FlaskForm, error: InvalidField) -> None:
    """Say at its field what is wrong; of a list, the field is named with a number after it."""
    field, _, _ = error.field.partition(".")
    add_fault(form, InvalidField(field, error.message.partition(": ")[2]))
