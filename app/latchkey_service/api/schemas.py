"""The shapes of requests and answers; the OpenAPI document is made from them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Required, TypedDict

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.config import JsonDict

from latchkey.credentials.models import Change, Credential, Mode, Origin, Status, Usage
from latchkey.credentials.names import LONGEST_NAME, NAME_PATTERN, check_name
from latchkey.credentials.scopes import KNOWN_SCOPES, parse_scopes
from latchkey.credentials.service import DEFAULT_OVERLAP, LONGEST_OVERLAP
from latchkey.credentials.tokens import API_KEY_PATTERN, SECRET_PATTERN

# RFC 3339 section 5.6. A time without an offset names no moment, so it is refused.
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


_DAY = timedelta(days=1)
# For how long back uses are answered by hour, and by day.
_DAYS_BY_HOUR = 7
_DAYS = 90


def parse_time(value: object) -> datetime:
    """A moment in UTC, cut to the millisecond, from RFC 3339 text."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be a time as in 2026-01-15T10:30:00Z")
    try:
        moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a time that exists") from None
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-01-15T10:30:00.123Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[
    datetime,
    BeforeValidator(parse_time),
    PlainSerializer(format_time, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
ApiKey = Annotated[str, Field(pattern=API_KEY_PATTERN, examples=["ak_live_0123456789ABCDEFGHIJkl"])]
Name = Annotated[
    str,
    AfterValidator(check_name),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": LONGEST_NAME,
            "pattern": NAME_PATTERN,
            "examples": ["billing service"],
        }
    ),
]
Scope = Annotated[str, Field(json_schema_extra={"enum": list(KNOWN_SCOPES)})]


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
        description="The caller's own if left out; nobody can give more than they have.",
    )
    expires_at: Time | None = Field(
        default=None,
        json_schema_extra=_without_default,
        description="The caller's own if left out; null for no end.",
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
        description="Nobody can give more than they have, or change a key that has more.",
    )
    expires_at: Time | None = Field(
        default=None,
        json_schema_extra=_without_default,
        description="Null for no end; a rotated key's end cannot be put off.",
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
        description="For how long the old key goes on working; never past its own end.",
    )

    @property
    def overlap(self) -> timedelta:
        """The time for which both keys work."""
        return timedelta(seconds=self.overlap_seconds)


def _parse_digits(value: object) -> object:
    """Plain digits only: pydantic would also take ``1_0`` and ``1.0`` for whole numbers."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("must be a whole number")
    return value


class ApiKeyPath(BaseModel):
    """The key that a route is about."""

    api_key: str = Field(description="The public key, ak_…")


class ListQuery(BaseModel):
    """Which part of a listing."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(_parse_digits)] = Field(
        default=50, description="How many, at most."
    )
    cursor: str | None = Field(default=None, description="The next_cursor of the page before.")


class Registered(BaseModel):
    """The answer to a registration."""

    api_key: ApiKey


class Revoked(BaseModel):
    """The answer to a revocation, which is in effect."""

    api_key: ApiKey
    revoked: Literal[True] = True


class Account(BaseModel):
    """Whom the presented key speaks for."""

    object: Literal["account"] = "account"
    id: str = Field(description="Stays the same when the key is rotated.")
    name: str | None
    mode: Mode
    api_key: ApiKey
    scopes: list[Scope]


class CredentialObject(BaseModel):
    """A credential without its secret."""

    api_key: ApiKey
    name: str | None
    mode: Mode
    scopes: list[Scope]
    status: Status
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None = Field(description="Up to the last request; null for never.")
    rotate_by: Time | None = Field(description="When it should have been replaced by a new one.")
    rotated_to: ApiKey | None = Field(description="The key that replaces it.")
    origin: Origin = Field(description="Imported: the hash of another system's token.")

    @classmethod
    def of(
        cls,
        credential: Credential,
        last_used_at: datetime | None,
        now: datetime,
        rotation_age: timedelta,
    ) -> CredentialObject:
        """The object that clients see of a stored credential at ``now``."""
        return cls(**_fields(credential, last_used_at, now, rotation_age))


class IssuedObject(CredentialObject):
    """A new credential with its secret, this once."""

    api_secret: Annotated[str, Field(pattern=SECRET_PATTERN, repr=False)]

    @classmethod
    def with_secret(
        cls, credential: Credential, secret: str, now: datetime, rotation_age: timedelta
    ) -> IssuedObject:
        """The object that the creating call answers."""
        return cls(api_secret=secret, **_fields(credential, None, now, rotation_age))


class CredentialList(BaseModel):
    """A page of credentials, newest first; next_cursor is null at the end."""

    credentials: list[CredentialObject]
    next_cursor: str | None


class UsedPeriod(BaseModel):
    """An hour or a day in UTC, by its beginning, and the requests in it."""

    start: Time
    requests: int


class Refusals(BaseModel):
    """How often the key was refused although its secret was right."""

    revoked: int
    expired: int
    scope: int


class UsageObject(BaseModel):
    """The use of a credential, up to the last request."""

    api_key: ApiKey
    requests: int = Field(description="All there ever were.")
    last_used_at: Time | None
    hours: list[UsedPeriod] = Field(description="Of the last 7 days, without those of no request.")
    days: list[UsedPeriod] = Field(description="Of the last 90 days, without those of no request.")
    refusals: Refusals

    @classmethod
    def of(cls, api_key: str, usage: Usage, now: datetime) -> UsageObject:
        """The object that clients see at ``now``."""
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        days: dict[datetime, int] = {}
        for hour, uses in usage.hours.items():
            day = hour.replace(hour=0)
            days[day] = days.get(day, 0) + uses
        return cls(
            api_key=api_key,
            requests=usage.uses,
            last_used_at=usage.last_used_at,
            hours=_since(midnight - (_DAYS_BY_HOUR - 1) * _DAY, usage.hours),
            days=_since(midnight - (_DAYS - 1) * _DAY, days),
            refusals=Refusals(**usage.refusals),
        )


class HealthStatus(BaseModel):
    """The service answers."""

    status: Literal["ok"] = "ok"


class ErrorFields(BaseModel):
    """What went wrong: for programs by type and code, for people by message."""

    type: str
    code: str
    message: str


class ErrorEnvelope(BaseModel):
    """The one shape of every error."""

    error: ErrorFields


def _since(start: datetime, periods: dict[datetime, int]) -> list[UsedPeriod]:
    return [UsedPeriod(start=at, requests=uses) for at, uses in periods.items() if at >= start]


def _fields(
    credential: Credential, last_used_at: datetime | None, now: datetime, rotation_age: timedelta
) -> dict[str, Any]:
    return {
        "api_key": credential.api_key,
        "name": credential.name,
        "mode": credential.mode,
        "scopes": sorted(credential.scopes),
        "status": credential.status(now),
        "created_at": credential.created_at,
        "expires_at": credential.expires_at,
        "revoked_at": credential.revoked_at,
        "last_used_at": last_used_at,
        "rotate_by": credential.rotate_by(rotation_age),
        "rotated_to": credential.rotated_to,
        "origin": credential.origin,
    }
