"""The JSON form of credentials and their usage, over HTTP and on the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, Field

from latchkey.credentials.conditions import Conditions, NetworksMode
from latchkey.credentials.models import Credential, Mode, Origin, Status, Usage
from latchkey.credentials.tokens import SECRET_PATTERN
from latchkey_service.shapes.fields import ApiKey, Scope, Time
from latchkey_service.shapes.limits import (
    LevelOfLimit,
    LimitLevelObject,
    LimitObject,
    limit_level_objects,
    limit_objects,
)

_DAY = timedelta(days=1)
# How many days usage is reported by hour, and by day.
_DAYS_BY_HOUR = 7
_DAYS = 90


class CredentialObject(BaseModel):
    """A credential without its secret."""

    api_key: ApiKey
    name: str | None
    mode: Mode
    account: str = Field(description="The id of the account that the key belongs to.")
    scopes: list[Scope]
    status: Status
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None = Field(description="The time of the last request; null for never.")
    rotate_by: Time | None = Field(description="When the key is due for rotation.")
    rotated_to: ApiKey | None = Field(description="The successor of a rotated key.")
    origin: Origin = Field(
        description="derived, or imported for a token that another system issued."
    )
    enabled: bool
    not_before: Time | None
    networks: list[str] | None
    networks_mode: NetworksMode
    endpoints: list[str] | None
    metadata: dict[str, Any] | None
    limits: list[LimitObject] | None = Field(
        description="If the key shares the limits of another key, these. Null for none: then the "
        "default limit applies."
    )
    limits_of: ApiKey | None = Field(
        description="The key whose limits this key shares; null if it has its own."
    )

    @classmethod
    def of(
        cls,
        credential: Credential,
        last_used_at: datetime | None,
        now: datetime,
        rotation_age: timedelta,
    ) -> CredentialObject:
        """The object for a stored credential at ``now``."""
        return cls(**_fields(credential, last_used_at, now, rotation_age))


class OwnCredentialObject(CredentialObject):
    """The presented credential, with what remains of the limits that apply to it."""

    limits: list[LimitLevelObject]

    @classmethod
    def with_levels(
        cls,
        credential: Credential,
        levels: Sequence[LevelOfLimit],
        last_used_at: datetime | None,
        now: datetime,
        rotation_age: timedelta,
    ) -> OwnCredentialObject:
        """The object for a stored credential at ``now``."""
        fields = _fields(credential, last_used_at, now, rotation_age)
        return cls(**{**fields, "limits": limit_level_objects(levels)})


class IssuedObject(CredentialObject):
    """A new credential with its secret, which no other response contains."""

    api_secret: Annotated[str, Field(pattern=SECRET_PATTERN, repr=False)]

    @classmethod
    def with_secret(
        cls, credential: Credential, secret: str, now: datetime, rotation_age: timedelta
    ) -> IssuedObject:
        """The object for the response that creates the credential."""
        return cls(api_secret=secret, **_fields(credential, None, now, rotation_age))


class UsedPeriod(BaseModel):
    """The requests in one hour or day in UTC. ``start`` is its beginning."""

    start: Time
    requests: int


class Refusals(BaseModel):
    """How often requests with the correct secret were refused, by reason."""

    revoked: int
    expired: int
    scope: int
    disabled: int
    not_yet_valid: int
    address: int
    endpoint: int
    observed: int = Field(description="Admitted from outside of networks that are only observed.")
    rate_limited: int
    quota_exceeded: int


class UsageFields(BaseModel):
    """Usage up to the last request."""

    requests: int = Field(description="The total number of requests.")
    last_used_at: Time | None
    hours: list[UsedPeriod] = Field(description="The last 7 days, without empty hours.")
    days: list[UsedPeriod] = Field(description="The last 90 days, without empty days.")
    refusals: Refusals
    limits: list[LimitLevelObject] = Field(
        description="What remains of the limits that apply to the key, or of those of the account."
    )


class _UsedKey(BaseModel):
    api_key: ApiKey


class _UsedAccount(BaseModel):
    account: str = Field(description="The id of the account.")
    mode: Mode = Field(description="The mode of the keys that are counted.")


# Fields of the last base come first.
class UsageObject(UsageFields, _UsedKey):
    """The usage of a credential, up to the last request."""

    @classmethod
    def of(
        cls, api_key: str, usage: Usage, levels: Sequence[LevelOfLimit], now: datetime
    ) -> UsageObject:
        """The object for the usage of a credential at ``now``."""
        return cls(api_key=api_key, **_usage_fields(usage, levels, now))


class AccountUsageObject(UsageFields, _UsedAccount):
    """The usage of an account's keys in one mode, summed up to the last request."""

    @classmethod
    def of(
        cls,
        account_id: str,
        mode: Mode,
        usage: Usage,
        levels: Sequence[LevelOfLimit],
        now: datetime,
    ) -> AccountUsageObject:
        """The object for the usage of an account at ``now``."""
        return cls(account=account_id, mode=mode, **_usage_fields(usage, levels, now))


def _usage_fields(usage: Usage, levels: Sequence[LevelOfLimit], now: datetime) -> dict[str, Any]:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    days: dict[datetime, int] = {}
    for hour, uses in usage.hours.items():
        day = hour.replace(hour=0)
        days[day] = days.get(day, 0) + uses
    return {
        "requests": usage.uses,
        "last_used_at": usage.last_used_at,
        "hours": _since(midnight - (_DAYS_BY_HOUR - 1) * _DAY, usage.hours),
        "days": _since(midnight - (_DAYS - 1) * _DAY, days),
        "refusals": Refusals(**usage.refusals),
        "limits": limit_level_objects(levels),
    }


def _since(start: datetime, periods: dict[datetime, int]) -> list[UsedPeriod]:
    return [UsedPeriod(start=at, requests=uses) for at, uses in periods.items() if at >= start]


def _fields(
    credential: Credential, last_used_at: datetime | None, now: datetime, rotation_age: timedelta
) -> dict[str, Any]:
    return {
        "api_key": credential.api_key,
        "name": credential.name,
        "mode": credential.mode,
        "account": credential.account_id,
        "scopes": sorted(credential.scopes),
        "status": credential.status(now),
        "created_at": credential.created_at,
        "expires_at": credential.expires_at,
        "revoked_at": credential.revoked_at,
        "last_used_at": last_used_at,
        "rotate_by": credential.rotate_by(rotation_age),
        "rotated_to": credential.rotated_to,
        "origin": credential.origin,
        **_conditions(credential.conditions),
        "metadata": None if credential.metadata is None else json.loads(credential.metadata),
        **_limits(credential),
    }


def _limits(credential: Credential) -> dict[str, Any]:
    shared = credential.shared_limits
    return {
        "limits": limit_objects([stored.limit for stored in credential.applied_limits.own]),
        "limits_of": None if shared is None else shared.api_key,
    }


def _conditions(conditions: Conditions) -> dict[str, Any]:
    networks, endpoints = conditions.networks, conditions.endpoints
    return {
        "enabled": conditions.enabled,
        "not_before": conditions.not_before,
        "networks": None if networks is None else [str(network) for network in networks],
        "networks_mode": conditions.networks_mode,
        "endpoints": None if endpoints is None else [str(rule) for rule in endpoints],
    }
