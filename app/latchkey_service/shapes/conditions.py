"""The conditions and the metadata of a key, as requests give them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from latchkey.credentials.conditions import (
    ConditionTerms,
    NetworksMode,
    parse_endpoints,
    parse_networks,
)
from latchkey.credentials.endpoints import LONGEST_ENDPOINT, MOST_ENDPOINTS
from latchkey.credentials.networks import MOST_NETWORKS
from latchkey.credentials.tokens import redact_secrets
from latchkey.errors import InvalidField
from latchkey_service.shapes.fields import Time

LONGEST_METADATA = 4096
"""Bytes of a key's metadata, as compact JSON in UTF-8."""
DEEPEST_METADATA = 32
"""The most objects and lists inside of each other. A response cannot express very deep ones."""


def without_default(schema: JsonDict) -> None:
    """Leave the default out of the document: what an omitted field means depends on the caller."""
    schema.pop("default", None)


class RequestModel(BaseModel):
    """A part of a request: unknown fields are refused, and types are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Enabled = Annotated[
    bool,
    Field(
        json_schema_extra=without_default,
        description="Whether the key may be used; it can be enabled again at any time.",
    ),
]
NotBefore = Annotated[
    Time | None,
    Field(
        json_schema_extra=without_default,
        description="When the key begins to be valid; null for at once.",
    ),
]
Networks = Annotated[
    Annotated[list[str], Field(min_length=1, max_length=MOST_NETWORKS)] | None,
    Field(
        json_schema_extra=without_default,
        description="CIDR blocks from which the key may be used; null for everywhere.",
        examples=[["192.0.2.0/24", "2001:db8::/32"]],
    ),
]
ObservedMode = Annotated[
    NetworksMode,
    Field(
        json_schema_extra=without_default,
        description="`observe` refuses nothing, and counts requests from other networks.",
    ),
]
Endpoints = Annotated[
    Annotated[
        list[Annotated[str, Field(max_length=LONGEST_ENDPOINT)]],
        Field(min_length=1, max_length=MOST_ENDPOINTS),
    ]
    | None,
    Field(
        json_schema_extra=without_default,
        description="Methods and paths that the key may be used for; null for all. `*` is any "
        "method or one segment of a path, and a final `/**` a path and everything below it.",
        examples=[["GET /orders/**", "POST /orders"]],
    ),
]
Metadata = Annotated[
    dict[str, Any] | None,
    Field(
        json_schema_extra=without_default,
        description=f"An object of your own, at most {LONGEST_METADATA} bytes of JSON; null for "
        "none. It does not travel with requests.",
    ),
]


class MetadataField(Protocol):
    """A body with metadata, of a key or of an account."""

    @property
    def model_fields_set(self) -> set[str]: ...
    @property
    def metadata(self) -> dict[str, Any] | None: ...


class ConditionFields(MetadataField, Protocol):
    """The fields that the bodies of creating and of changing a key have in common."""

    @property
    def enabled(self) -> bool: ...
    @property
    def not_before(self) -> datetime | None: ...
    @property
    def networks(self) -> list[str] | None: ...
    @property
    def networks_mode(self) -> NetworksMode: ...
    @property
    def endpoints(self) -> list[str] | None: ...


def condition_terms(body: ConditionFields) -> ConditionTerms:
    """The conditions that a body gives; raises InvalidField."""
    given = body.model_fields_set
    terms = ConditionTerms()
    if "enabled" in given:
        terms["enabled"] = body.enabled
    if "not_before" in given:
        terms["not_before"] = body.not_before
    if "networks" in given:
        terms["networks"] = None if body.networks is None else parse_networks(body.networks)
    if "networks_mode" in given:
        terms["networks_mode"] = body.networks_mode
    if "endpoints" in given:
        terms["endpoints"] = None if body.endpoints is None else parse_endpoints(body.endpoints)
        for number, rule in enumerate(body.endpoints or ()):
            if redact_secrets(rule) != rule:
                raise InvalidField(f"endpoints.{number}", "contains what looks like an API secret")
    return terms


def metadata_text(body: MetadataField, longest: int = LONGEST_METADATA) -> str | None:
    """The metadata of a body as it is stored: compact JSON, or None if it gives none.

    Empty text removes it. Raises InvalidField if it is longer than ``longest`` bytes, is nested too
    deeply, or contains what looks like a secret.
    """
    if "metadata" not in body.model_fields_set:
        return None
    if body.metadata is None:
        return ""
    if _is_deep(body.metadata):
        raise InvalidField("metadata", "is nested too deeply")
    text = json.dumps(body.metadata, ensure_ascii=False, separators=(",", ":"))
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidField("metadata", "has a string that is not valid Unicode") from None
    if length > longest:
        raise InvalidField("metadata", f"has more than {longest} bytes")
    if redact_secrets(text) != text:
        raise InvalidField("metadata", "contains what looks like an API secret")
    return text


def _is_deep(value: Any) -> bool:
    """Whether more than ``DEEPEST_METADATA`` objects and lists are inside of each other."""
    level = [value]
    for _ in range(DEEPEST_METADATA + 1):
        containers = [one for one in level if isinstance(one, (dict, list))]
        if not containers:
            return False
        level = [
            child
            for one in containers
            for child in (one.values() if isinstance(one, dict) else one)
        ]
    return True
