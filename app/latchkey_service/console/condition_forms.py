"""The fields of a form for the conditions and the metadata of a key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from wtforms import DateTimeLocalField, RadioField, TextAreaField
from wtforms.validators import Optional

from latchkey.credentials.models import Credential
from latchkey.credentials.times import format_time
from latchkey.errors import InvalidField
from latchkey_service import strict_json
from latchkey_service.console.forms import ConsoleForm

_LINES = {"rows": 3, "autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}


class ConditionsForm(ConsoleForm):
    """The base of forms for a key: when, from where and for what the key may be used."""

    enabled = RadioField("State", choices=[("yes", "Enabled"), ("no", "Disabled")], default="yes")
    not_before = DateTimeLocalField(
        "Valid from, in UTC",
        [Optional()],
        format=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
    )
    networks = TextAreaField("Networks", render_kw=_LINES)
    networks_mode = RadioField(
        "Requests from other networks",
        choices=[("enforce", "Refuse"), ("observe", "Admit and count")],
        default="enforce",
    )
    endpoints = TextAreaField("Endpoints", render_kw=_LINES)
    metadata = TextAreaField("Metadata", render_kw=_LINES)

    def conditions(self) -> dict[str, Any]:
        """The fields as a body of the API; raises InvalidField."""
        moment: datetime | None = self.not_before.data
        return {
            "enabled": self.enabled.data == "yes",
            "not_before": None if moment is None else format_time(moment.replace(tzinfo=UTC)),
            "networks": _lines(self.networks.data),
            "networks_mode": self.networks_mode.data,
            "endpoints": _lines(self.endpoints.data),
            "metadata": json_value("metadata", self.metadata.data),
        }

    def has_conditions(self) -> bool:
        """Whether a condition or the metadata is set or invalid, so that the fields are shown."""
        fields = (self.not_before, self.networks, self.endpoints, self.metadata)
        others = (self.enabled, self.networks_mode)
        return (
            any(field.data or field.errors for field in fields)
            or any(field.errors for field in others)
            or (self.enabled.data, self.networks_mode.data) != ("yes", "enforce")
        )

    def show_conditions(self, credential: Credential) -> None:
        """Fill in the current conditions and metadata of a key."""
        conditions = credential.conditions
        self.enabled.data = "yes" if conditions.enabled else "no"
        self.not_before.data = conditions.not_before
        self.networks.data = "\n".join(map(str, conditions.networks or ()))
        self.networks_mode.data = conditions.networks_mode
        self.endpoints.data = "\n".join(map(str, conditions.endpoints or ()))
        self.metadata.data = credential.metadata or ""


def json_value(field: str, text: str | None) -> Any:
    """The JSON in the text of a field; None for a blank one. Raises InvalidField."""
    if not (text or "").strip():
        return None
    try:
        return strict_json.loads(text or "")
    except (ValueError, RecursionError):
        raise InvalidField(field, "enter a JSON object") from None


def _lines(text: str | None) -> list[str] | None:
    """The lines of a text that are not blank; None if there is none."""
    return [line.strip() for line in (text or "").splitlines() if line.strip()] or None
