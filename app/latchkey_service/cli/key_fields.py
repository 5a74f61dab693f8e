"""The fields of a key in the output of commands and in exports."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from latchkey.credentials.models import Credential
from latchkey.credentials.times import utc_now
from latchkey_service.cli.session import Session
from latchkey_service.shapes.objects import CredentialObject

_FIRST = ("api_key", "account", "external_id")
KEY_FIELDS = (*_FIRST, *(name for name in CredentialObject.model_fields if name not in _FIRST))
"""The names of the fields, in order: those of the HTTP API, and the account's external id."""


def key_fields(session: Session, credential: Credential) -> dict[str, Any]:
    """The fields of a stored key, as JSON values."""
    age = timedelta(days=session.settings.rotation_days)
    last_used_at = session.usage.last_used_at(credential)
    fields = CredentialObject.of(credential, last_used_at, utc_now(), age).model_dump(mode="json")
    fields["account"] = credential.account_id
    fields["external_id"] = credential.account.external_id
    return {name: fields[name] for name in KEY_FIELDS}
