"""The limits of keys and accounts, as requests give them and as answers show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from inspect import cleandoc
from typing import Annotated, Any, Literal, Protocol, get_args

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema
from pydantic.config import JsonDict

from latchkey.credentials.limits import (
    DEFAULT_NAME,
    LARGEST_QUOTA,
    LATEST_REFILL,
    LIMIT_NAME_PATTERN,
    MOST_LIMITS,
    MOST_PER_SECOND,
    QUOTA_PERIODS,
    RATE_PATTERN,
    RATE_PERIODS,
    Limit,
    QuotaLimit,
    QuotaPeriod,
    RateLimit,
    check_limit_name,
    checked_limits,
    parse_rate,
    quota_limit,
    rate_limit,
)
from latchkey.credentials.times import format_time
from latchkey.errors import InvalidField
from latchkey_service.shapes.conditions import RequestModel, without_default

LARGEST_BURST = MOST_PER_SECOND * RATE_PERIODS["day"]
"""The largest burst. It also has to be available again within 366 days."""

LimitSource = Literal["key", "account", "default"]
"""Whether a limit is one of the key, of its account, or the default limit."""

_OF_A_RATE = ("rate", "burst")
_OF_A_QUOTA = ("quota", "period", "refill_on")
_NAME: dict[str, Any] = {"type": "string", "pattern": LIMIT_NAME_PATTERN}
_RATE: dict[str, Any] = {
    "type": "string",
    "pattern": RATE_PATTERN,
    "description": "The units that become available in a period, such as 100/minute.",
}
_BURST: dict[str, Any] = {
    "type": "integer",
    "minimum": 1,
    "maximum": LARGEST_BURST,
    "description": "The most units at once.",
}
_QUOTA: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": LARGEST_QUOTA}
_PERIOD: dict[str, Any] = {
    "type": "string",
    "enum": list(QUOTA_PERIODS),
    "description": "A calendar period in UTC; a quota in total is never refilled.",
}
_REFILL_ON: dict[str, Any] = {
    "type": "integer",
    "minimum": 1,
    "maximum": LATEST_REFILL,
    "description": "The day on which the months of the quota begin.",
}


def _kinds(
    rate: dict[str, Any], quota: dict[str, Any], required: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The schema of an object that is either a rate or a quota.

    ``rate`` and ``quota`` are the properties of each kind, and ``required`` the needed ones.
    """
    return {
        "oneOf": [
            {
                "type": "object",
                "title": title,
                "properties": properties,
                "required": list(required[title]),
                "additionalProperties": False,
            }
            for title, properties in (("rate", rate), ("quota", quota))
        ]
    }


def _as_body(schema: JsonDict, model: type[Any]) -> None:
    """Describe the body as one of both kinds; pydantic describes all fields of one object."""
    # Early releases of pydantic add the title and the description only afterwards.
    title, description = model.__name__, cleandoc(model.__doc__ or "")
    name = {**_NAME, "default": DEFAULT_NAME}
    burst = {**_BURST, "description": "The most units at once; default: those of the rate."}
    described = _kinds(
        {"name": name, "rate": _RATE, "burst": burst},
        {"name": name, "quota": _QUOTA, "period": _PERIOD, "refill_on": _REFILL_ON},
        {"rate": ("rate",), "quota": ("quota", "period")},
    )
    schema.clear()
    schema.update(title=title, description=description, **described)


def _checked_rate(text: str) -> str:
    parse_rate(text)
    return text


class LimitBody(RequestModel):
    """A limit: a rate, or the quota of a period."""

    model_config = ConfigDict(json_schema_extra=_as_body)

    name: Annotated[str, AfterValidator(check_limit_name)] = DEFAULT_NAME
    rate: Annotated[str, AfterValidator(_checked_rate)] = ""
    burst: Annotated[int, Field(ge=1, le=LARGEST_BURST)] = 1
    quota: Annotated[int, Field(ge=1, le=LARGEST_QUOTA)] = 1
    period: QuotaPeriod = "total"
    refill_on: Annotated[int, Field(ge=1, le=LATEST_REFILL)] = 1

    def limit(self, place: str) -> Limit:
        """The limit; raises InvalidField, which names the field after ``place``."""
        given = self.model_fields_set
        if ("rate" in given) == ("quota" in given):
            raise InvalidField(place, "needs a rate or a quota, and not both")
        kind, others = ("rate", _OF_A_QUOTA) if "rate" in given else ("quota", _OF_A_RATE)
        for field in others:
            if field in given:
                raise InvalidField(f"{place}.{field}", f"does not belong to a {kind}")
        return self._rate(place) if kind == "rate" else self._quota(place)

    def _rate(self, place: str) -> RateLimit:
        burst = self.burst if "burst" in self.model_fields_set else None
        try:
            return rate_limit(self.rate, self.name, burst)
        except ValueError as error:
            # Name and rate were checked before.
            field = "rate" if burst is None else "burst"
            raise InvalidField(f"{place}.{field}", str(error)) from None

    def _quota(self, place: str) -> QuotaLimit:
        given = self.model_fields_set
        if "period" not in given:
            raise InvalidField(f"{place}.period", "is required")
        refill_on = self.refill_on if "refill_on" in given else None
        try:
            return quota_limit(self.name, self.quota, self.period, refill_on)
        except ValueError as error:
            # All others were checked before.
            raise InvalidField(f"{place}.refill_on", str(error)) from None


Limits = Annotated[
    Annotated[list[LimitBody], Field(min_length=1, max_length=MOST_LIMITS)] | None,
    Field(
        json_schema_extra=without_default,
        description="Rates and quotas; all must admit a request. Null for none. Setting them needs "
        "`accounts:write`.",
        examples=[
            [
                {"rate": "100/minute", "burst": 20},
                {"name": "monthly", "quota": 1_000_000, "period": "month"},
            ]
        ],
    ),
]


def limits_of(bodies: Sequence[LimitBody] | None) -> tuple[Limit, ...]:
    """The limits in a body; empty for None. Raises InvalidField, which names the place."""
    found = [body.limit(f"limits.{number}") for number, body in enumerate(bodies or ())]
    return checked_limits(found)


LimitObject = Annotated[
    dict[str, Any],
    WithJsonSchema(
        _kinds(
            {"name": _NAME, "rate": _RATE, "burst": _BURST},
            {"name": _NAME, "quota": _QUOTA, "period": _PERIOD, "refill_on": _REFILL_ON},
            {"rate": ("name", "rate", "burst"), "quota": ("name", "quota", "period")},
        )
    ),
]
"""A limit as it was set: the form of ``Limit.to_json``."""


_LEFT: dict[str, Any] = {
    "remaining": {
        "type": "integer",
        "minimum": 0,
        "description": "The units that can be taken at the moment.",
    },
    "reset_at": {
        "anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}],
        "description": "When all units are available again; null for a quota in total.",
    },
    "source": {
        "type": "string",
        "enum": list(get_args(LimitSource)),
        "description": "Whether it is a limit of the key, of its account, or the default limit.",
    },
}

LimitLevelObject = Annotated[
    dict[str, Any],
    WithJsonSchema(
        _kinds(
            {"name": _NAME, "rate": _RATE, "burst": _BURST, **_LEFT},
            {"name": _NAME, "quota": _QUOTA, "period": _PERIOD, "refill_on": _REFILL_ON, **_LEFT},
            {
                "rate": ("name", "rate", "burst", *_LEFT),
                "quota": ("name", "quota", "period", *_LEFT),
            },
        )
    ),
]
"""A limit with what remains of it."""


class LevelOfLimit(Protocol):
    """A limit with what remains of it. ``reset_at`` is None for a quota in total."""

    @property
    def limit(self) -> Limit: ...
    @property
    def remaining(self) -> int: ...
    @property
    def reset_at(self) -> datetime | None: ...
    @property
    def source(self) -> LimitSource: ...


def limit_level_objects(levels: Sequence[LevelOfLimit]) -> list[dict[str, Any]]:
    """Limits with what remains of them."""
    return [
        {
            **level.limit.to_json(),
            "remaining": level.remaining,
            "reset_at": None if level.reset_at is None else format_time(level.reset_at),
            "source": level.source,
        }
        for level in levels
    ]


def limit_objects(limits: Sequence[Limit]) -> list[dict[str, Any]] | None:
    """The limits of a key or an account as they were set; None if there are none."""
    return [limit.to_json() for limit in limits] or None
