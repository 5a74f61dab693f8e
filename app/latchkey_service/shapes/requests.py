"""The models for creating, changing and rotating credentials: bodies, forms and options."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Required, TypedDict

from pydantic import Field

from latchkey.credentials.conditions import ConditionTerms
from latchkey.credentials.granting import parse_scopes, scopes_missing
from latchkey.credentials.limits import Limit
from latchkey.credentials.models import Change, Mode
from latchkey.credentials.service import DEFAULT_OVERLAP, LONGEST_OVERLAP
from latchkey.credentials.tokens import SECRET_PATTERN
from latchkey_service.shapes.conditions import (
    Enabled,
    Endpoints,
    Metadata,
    Networks,
    NotBefore,
    ObservedMode,
    RequestModel,
    condition_terms,
    metadata_text,
    without_default,
)
from latchkey_service.shapes.fields import ApiKey, Name, Scope, Time
from latchkey_service.shapes.limits import Limits, limits_of


class RegisterBody(RequestModel):
    """A key pair that the vendor derived, to be registered."""

    api_key: ApiKey
    api_secret: Annotated[str, Field(pattern=SECRET_PATTERN, repr=False)]
    name: Name | None = None


class IssueTerms(TypedDict, total=False):
    """The terms of a new key pair. An omitted term is copied from the caller."""

    name: Required[str]
    account: str
    mode: Mode
    scopes: frozenset[str]
    expires_at: datetime | None
    conditions: ConditionTerms
    metadata: str | None
    limits: tuple[Limit, ...]


class IssueBody(RequestModel):
    """A new key pair. Omitted fields are copied from the caller's key."""

    name: Name
    account: str = Field(
        default="",
        json_schema_extra=without_default,
        description="The id of the account that the key belongs to. If omitted, the caller's; if "
        "given, `scopes` has to be given too.",
    )
    mode: Mode = Field(
        default="live",
        json_schema_extra=without_default,
        description="Must be the mode of the caller's key.",
    )
    scopes: Annotated[list[Scope], Field(min_length=1)] = Field(
        default_factory=list,
        json_schema_extra=without_default,
        description="If omitted, those of the caller's key. A key cannot grant more than it has.",
    )
    expires_at: Time | None = Field(
        default=None,
        json_schema_extra=without_default,
        description="If omitted, that of the caller's key. Null for no expiry.",
    )

    enabled: Enabled = True
    not_before: NotBefore = None
    networks: Networks = None
    networks_mode: ObservedMode = "enforce"
    endpoints: Endpoints = None
    metadata: Metadata = None
    limits: Limits = None

    def terms(self) -> IssueTerms:
        """The given terms, for the credential service; raises InvalidField."""
        terms = IssueTerms(name=self.name)
        if "account" in self.model_fields_set:
            if "scopes" not in self.model_fields_set:
                raise scopes_missing()
            terms["account"] = self.account
        if "mode" in self.model_fields_set:
            terms["mode"] = self.mode
        if "scopes" in self.model_fields_set:
            terms["scopes"] = parse_scopes(self.scopes)
        if "expires_at" in self.model_fields_set:
            terms["expires_at"] = self.expires_at
        terms["conditions"] = condition_terms(self)
        terms["metadata"] = metadata_text(self) or None
        if "limits" in self.model_fields_set:
            terms["limits"] = limits_of(self.limits)
        return terms


class ChangeBody(RequestModel):
    """New terms of a credential. Omitted fields are not changed."""

    name: Name = Field(default="", json_schema_extra=without_default)
    scopes: Annotated[list[Scope], Field(min_length=1)] = Field(
        default_factory=list,
        json_schema_extra=without_default,
        description="A key cannot grant more than it has, or change a key that has more.",
    )
    expires_at: Time | None = Field(
        default=None,
        json_schema_extra=without_default,
        description="Null for no expiry. The expiry of a rotated key cannot be postponed.",
    )

    enabled: Enabled = True
    not_before: NotBefore = None
    networks: Networks = None
    networks_mode: ObservedMode = "enforce"
    endpoints: Endpoints = None
    metadata: Metadata = None
    limits: Limits = None

    def change(self) -> Change:
        """The given terms, for the credential service; raises InvalidField."""
        return Change(
            name=self.name if "name" in self.model_fields_set else None,
            scopes=parse_scopes(self.scopes) if "scopes" in self.model_fields_set else None,
            sets_expiry="expires_at" in self.model_fields_set,
            expires_at=self.expires_at,
            conditions=condition_terms(self),
            metadata=metadata_text(self),
            limits=limits_of(self.limits) if "limits" in self.model_fields_set else None,
        )


class RotateBody(RequestModel):
    """The terms of a rotation."""

    overlap_seconds: Annotated[int, Field(ge=0, le=round(LONGEST_OVERLAP.total_seconds()))] = Field(
        default=round(DEFAULT_OVERLAP.total_seconds()),
        description="Seconds for which the old key keeps working, but not past its own expiry.",
    )

    @property
    def overlap(self) -> timedelta:
        """The time for which both keys work."""
        return timedelta(seconds=self.overlap_seconds)
