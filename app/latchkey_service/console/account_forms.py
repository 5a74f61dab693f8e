"""The forms for accounts. Values are validated by the same models as the bodies of the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wtforms import RadioField, StringField, TextAreaField
from wtforms.validators import InputRequired

from latchkey.credentials.accounts import LONGEST_EXTERNAL_ID, Account
from latchkey.credentials.limits import Limit
from latchkey.credentials.models import MODES, Mode
from latchkey.credentials.names import LONGEST_NAME
from latchkey.wording import counted
from latchkey_service.console.condition_forms import json_value
from latchkey_service.console.forms import ConsoleForm
from latchkey_service.console.limit_forms import LimitsForm

_PLAIN = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}


class AccountForm(LimitsForm):
    """The terms of an account, to create or change it."""

    name = StringField(
        "Name", render_kw={"maxlength": LONGEST_NAME, "autocomplete": "off", "required": False}
    )
    external_id = StringField("External id", render_kw={"maxlength": LONGEST_EXTERNAL_ID, **_PLAIN})
    metadata = TextAreaField("Metadata", render_kw={"rows": 3, **_PLAIN})

    def show(self, account: Account) -> None:
        """Fill in the current terms of an account."""
        self.name.data = account.name or ""
        self.external_id.data = account.external_id or ""
        self.metadata.data = account.metadata or ""
        self.show_limits(account.limits.definitions)

    def body(self, present: Sequence[Limit] = ()) -> dict[str, Any]:
        """The fields as a body of the API, without limits that are unchanged.

        ``present`` are the present limits of the account. Raises InvalidField.
        """
        return {
            "name": (self.name.data or "").strip(),
            "external_id": (self.external_id.data or "").strip() or None,
            "metadata": json_value("metadata", self.metadata.data),
            **self.limit_fields(present),
        }


class RevokeKeysForm(ConsoleForm):
    """The form to revoke the keys of an account: those of one mode, or of both."""

    keys = RadioField("Keys to revoke", [InputRequired("Select which keys to revoke.")])

    def offer(self, numbers: dict[Mode, int]) -> None:
        """Offer the modes, with the number of keys of each; none is selected."""
        both = [("both", f"In both modes: {counted(sum(numbers.values()), 'key')}")]
        each = [(mode, f"Only in {mode} mode: {counted(numbers[mode], 'key')}") for mode in MODES]
        self.keys.choices = [*each, *both]

    @property
    def mode(self) -> Mode | None:
        """The selected mode; None is both."""
        return next((mode for mode in MODES if mode == self.keys.data), None)
