"""The fields of a credential in the API, and the format of its times."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
FIELDS = [
    "account",
    "api_key",
    "created_at",
    "enabled",
    "endpoints",
    "expires_at",
    "last_used_at",
    "limits",
    "limits_of",
    "metadata",
    "mode",
    "name",
    "networks",
    "networks_mode",
    "not_before",
    "origin",
    "revoked_at",
    "rotate_by",
    "rotated_to",
    "scopes",
    "status",
]


def when(text: str) -> datetime:
    assert TIME.fullmatch(text), text
    return datetime.fromisoformat(text)


def later(**after: float) -> str:
    return (datetime.now(UTC) + timedelta(**after)).isoformat(timespec="milliseconds")
