"""The forms for keys. Values are validated by the same models as the bodies of the API."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

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

from latchkey.credentials.accounts import LONGEST_EXTERNAL_ID
from latchkey.credentials.granting import parse_allowed
from latchkey.credentials.limits import Limit
from latchkey.credentials.models import Credential
from latchkey.credentials.scopes import BUILT_IN_SCOPES, EVERYTHING, READ_EVERYTHING
from latchkey.credentials.times import format_time, utc_now
from latchkey.errors import InvalidField
from latchkey_service.console.condition_forms import ConditionsForm
from latchkey_service.console.forms import ConsoleForm, Tie
from latchkey_service.console.limit_forms import LimitsForm

_BUILT_IN = [scope for scope in BUILT_IN_SCOPES if not scope.startswith("*")]

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
    ("3600", "1 hour"),
    ("86400", "1 day"),
    ("604800", "7 days"),
    ("2592000", "30 days"),
    ("custom", "A number of hours"),
]
_HOUR = 3600
_WHOLE = {frozenset({EVERYTHING}): "full", frozenset({READ_EVERYTHING}): "read"}
_CHOSEN = Tie("access", "chosen")
_DATE = Tie("expiry", "date")
_CUSTOM = Tie("overlap", "custom")


class TermsForm(ConditionsForm, LimitsForm):
    """The terms of a key, to create or change it."""

    ties: ClassVar = {"scopes": _CHOSEN, "more_scopes": _CHOSEN, "expires_at": _DATE}

    name = StringField("Name", render_kw=_NAME)
    access = RadioField(
        "Access",
        [InputRequired("Select what the key may do.")],
        choices=[
            ("full", "Full access"),
            ("read", "Read only"),
            ("chosen", "Only the scopes selected below"),
        ],
        default="full",
    )
    scopes = SelectMultipleField(
        "Scopes",
        choices=[(scope, scope) for scope in _BUILT_IN],
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
        validate_choice=False,
        render_kw=_CHOSEN.attributes,
    )
    more_scopes = StringField(
        "Further scopes",
        render_kw={
            "autocomplete": "off",
            "spellcheck": "false",
            "autocapitalize": "none",
            **_CHOSEN.attributes,
        },
    )
    expiry = RadioField("Expires", choices=_EXPIRIES, default="never")
    expires_at = DateTimeLocalField(
        "Date and time, in UTC",
        [Optional()],
        format=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
        render_kw=_DATE.attributes,
    )

    may_be_nameless = False
    """Whether the name can be empty; true for an existing key without a name."""

    def offer(self, allowed_scopes: str, present: Iterable[str] = ()) -> None:
        """Offer the scopes that the settings list, and those that a key has already."""
        offered = [*_BUILT_IN, *sorted(parse_allowed(allowed_scopes))]
        if frozenset(present) not in _WHOLE:
            offered += sorted(present)
        self.scopes.choices = [(scope, scope) for scope in dict.fromkeys(offered)]

    def validate(self, extra_validators: Mapping[str, Any] | None = None) -> bool:
        """Whether all fields are valid. The default of the access is only for display."""
        if not self.access.raw_data:
            self.access.data = None
        return super().validate(extra_validators)

    def terms(self, present: Sequence[Limit] = ()) -> dict[str, Any]:
        """The fields as a body of the API, without an expiry or limits that are unchanged.

        ``present`` are the present limits of the key. Raises InvalidField.
        """
        given: dict[str, Any] = {"name": (self.name.data or "").strip(), "scopes": self._scopes()}
        if not given["name"] and not self.may_be_nameless:
            raise InvalidField("name", "enter a name")
        if not given["name"]:
            del given["name"]
        if self.expiry.data != "keep":
            given["expires_at"] = self._expires_at()
        return {**given, **self.conditions(), **self.limit_fields(present)}

    def _scopes(self) -> list[str]:
        whole = {"full": [EVERYTHING], "read": [READ_EVERYTHING]}
        chosen = [*(self.scopes.data or []), *(self.more_scopes.data or "").split()]
        scopes: list[str] = whole.get(self.access.data or "", chosen)
        if not scopes:
            raise InvalidField("scopes", "select at least one scope, or another access")
        return scopes

    def _expires_at(self) -> str | None:
        choice = self.expiry.data or ""
        if choice == "never":
            return None
        if choice != "date":
            return format_time(utc_now() + timedelta(days=int(choice)))
        moment: datetime | None = self.expires_at.data
        if moment is None:
            raise InvalidField("expires_at", "enter a date and time, or choose another expiry")
        return format_time(moment.replace(tzinfo=UTC))


class CreateForm(TermsForm):
    """The form for a new key. ``form_id`` is random: if sent twice, the form creates one key."""

    form_id = HiddenField(validators=[Length(_FORM_ID_LENGTH, _FORM_ID_LENGTH)])
    preselected = HiddenField()
    account = StringField(
        "Account",
        render_kw={
            "maxlength": LONGEST_EXTERNAL_ID,
            "list": "newest-accounts",
            "autocomplete": "off",
            "spellcheck": "false",
            "autocapitalize": "none",
        },
    )
    mode = RadioField("Mode", choices=[("live", "Live"), ("test", "Test")], default="live")

    def draw(self) -> None:
        """Generate the form's id, unless it has one."""
        self.form_id.data = self.form_id.data or secrets.token_urlsafe(16)

    def show_account(self, reference: str) -> None:
        """Fill in an account. No access is preselected then: a customer's key has no default."""
        self.account.data = reference
        if reference:
            self.access.data = None
        else:
            self.preselected.data = self.access.data

    def require_chosen_access(self) -> None:
        """Raise InvalidField if the access is the preselected one; it is then not selected."""
        if self.access.data == self.preselected.data:
            self.access.data, self.preselected.data = None, ""
            raise InvalidField("access", "select what a key of this account may do")


class ChangeForm(TermsForm):
    """The form to change an existing key."""

    expiry = RadioField("Expires", choices=[("keep", "Unchanged"), *_EXPIRIES], default="keep")

    def show(self, credential: Credential) -> None:
        """Fill in the current terms of the key."""
        self.name.data = credential.name
        self.scopes.data = sorted(credential.scopes)
        self.access.data = _WHOLE.get(credential.scopes, "chosen")
        self.show_conditions(credential)
        self.show_limits(own_limits(credential))


def own_limits(credential: Credential) -> tuple[Limit, ...]:
    """The limits that a key has, or that it shares with another one."""
    return tuple(stored.limit for stored in credential.applied_limits.own)


class RotateForm(ConsoleForm):
    """The form for a rotation: how long the old key keeps working."""

    ties: ClassVar = {"overlap_seconds": _CUSTOM}

    overlap = RadioField("Overlap", choices=_OVERLAPS, default="86400")
    overlap_seconds = IntegerField(
        "Hours, 0 to 720", [Optional(), NumberRange(0, 720)], render_kw=_CUSTOM.attributes
    )

    def body(self) -> dict[str, Any]:
        """The body for the API."""
        choice = self.overlap.data or ""
        if choice != "custom":
            return {"overlap_seconds": int(choice)}
        if self.overlap_seconds.data is None:
            raise InvalidField(
                "overlap_seconds", "enter a number of hours, or choose another overlap"
            )
        return {"overlap_seconds": self.overlap_seconds.data * _HOUR}


class RegisterForm(ConsoleForm):
    """The form to register a pair that was created elsewhere. A page never shows the secret."""

    name = StringField("Name", render_kw=_NAME)
    api_key = StringField(
        "API key",
        [InputRequired("Enter the API key (ak_…).")],
        render_kw={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"},
    )
    api_secret = PasswordField(
        "API secret",
        [InputRequired("Enter the API secret (sk_…).")],
        render_kw={"autocomplete": "off"},
    )

    def body(self) -> dict[str, Any]:
        """The body for the API."""
        name = (self.name.data or "").strip()
        given = {"api_key": (self.api_key.data or "").strip()}
        given["api_secret"] = (self.api_secret.data or "").strip()
        return {**given, "name": name} if name else given
