"""What a credential is requested, changed and rotated with: bodies, forms and options alike."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Required, TypedDict

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from latchkey.credentials.models import Change, Mode
from latchkey.credentials.scopes import parse_scopes
from latchkey.credentials.service import DEFAULT_OVERLAP, LONGEST_OVERLAP
from latchkey.credentials.tokens import SECRET_PATTERN
from latchkey_service.shapes.fields import ApiKey, Name, Scope, Time


def _without_default(schema: JsonDict) -> None:
    """What a field left out means depends on the caller, so the document names no default."""
    schema.pop("default", None)


class RequestModel(BaseModel):
    """A request's part: unknown fields are refused, types are not bent."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RegisterBody(RequestModel):
    """A pair that the vendor derived, to be registered."""

    api_key: ApiKey
    api_secret: Annotated[str, Field(pattern=SECRET_PATTERN, repr=False)]
    name: Name | None = None


class IssueTerms(TypedDict, total=False):
    """What a new pair is asked for with; a term left out is the caller's own."""

    name: Required[str]
    mode: Mode
    scopes: frozenset[str]
    expires_at: datetime | None


class IssueBody(RequestModel):
    """A new pair; what is left out is the caller's own."""

    name: Name
    mode: Mode = Field(
        default="live", json_schema_extra=_without_default, description="The caller's own."
    )
    scopes: Annotated[list[Scope], Field(min_length=1)] = Field(
        default_factory=list,
        json_schema_extra=_without_default,
        description="The caller's own if left out; a key cannot give more than it has.",
    )
    expires_at: Time | None = Field(
        default=None,
        json_schema_extra=_without_default,
        description="The caller's own if left out; null for no expiry.",
    )

    def terms(self) -> IssueTerms:
        """What was given, as the service takes it; raises InvalidField for an unknown scope."""
        terms = IssueTerms(name=self.name)
        if "mode" in self.model_fields_set:
            terms["mode"] = self.mode
        if "scopes" in self.model_fields_set:
            terms["scopes"] = parse_scopes(self.scopes)
        if "expires_at" in self.model_fields_set:
            terms["expires_at"] = self.expires_at
        return terms


class ChangeBody(RequestModel):
    """New terms of a credential; what is left out stays as it is."""

    name: Name = Field(default="", json_schema_extra=_without_default)
    scopes: Annotated[list[Scope], Field(min_length=1)] = Field(
        default_factory=list,
        json_schema_extra=_without_default,
        description="A key cannot give more than it has, or change a key that has more.",
    )
    expires_at: Time | None = Field(
        default=None,
        json_schema_extra=_without_default,
        description="Null for no expiry; a rotated key's expiry cannot be postponed.",
    )

    def change(self) -> Change:
        """What was given, as the service takes it; raises InvalidField for an unknown scope."""
        return Change(
            name=self.name if "name" in self.model_fields_set else None,
            scopes=parse_scopes(self.scopes) if "scopes" in self.model_fields_set else None,
            sets_expiry="expires_at" in self.model_fields_set,
            expires_at=self.expires_at,
        )


class RotateBody(RequestModel):
    """How a key is replaced."""

    overlap_seconds: Annotated[int, Field(ge=0, le=round(LONGEST_OVERLAP.total_seconds()))] = Field(
        default=round(DEFAULT_OVERLAP.total_seconds()),
        description="How long the old key keeps working; never past its own expiry.",
    )

    @property
    def overlap(self) -> timedelta:
        """The time for which both keys work."""
        return timedelta(seconds=self.overlap_seconds)
