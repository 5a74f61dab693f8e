"""The console's forms: fields, and how their hints and faults are tied to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wtforms import Field


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
