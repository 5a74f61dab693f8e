"""Credentials and their use as JSON shows them, over HTTP and on the command line."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, Field

from latchkey.credentials.models import Credential, Mode, Origin, Status, Usage
from latchkey.credentials.tokens import SECRET_PATTERN
from latchkey_service.shapes.fields import ApiKey, Scope, Time

_DAY = timedelta(days=1)
# For how long back uses are answered by hour, and by day.
_DAYS_BY_HOUR = 7
_DAYS = 90


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
    requests: int = Field(description="The total number.")
    last_used_at: Time | None
    hours: list[UsedPeriod] = Field(description="The last 7 days, without empty hours.")
    days: list[UsedPeriod] = Field(description="The last 90 days, without empty days.")
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
