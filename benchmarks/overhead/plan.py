"""The comparisons, and the measurements of one process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SERIES: Mapping[str, int] = {
    "hits": 1,
    "limits": 1,
    "contended": 1,
    "ways": 4,
    "metrics": 1,
    "asgi": 2,
    "verify": 1,
    "flask": 2,
    "peers": 3,
    "django": 10,
}
"""Each series of subjects, and the divisor of its rounds, because some take longer."""


@dataclass(frozen=True)
class OverheadSettings:
    """The extent of the measurements."""

    processes: int = 16
    calls: int = 20_000
    keys: int = 1_000
    counted_calls: int = 100
    """The number of calls for counting instructions; 0 disables counting."""


FULL = OverheadSettings()
QUICK = OverheadSettings(processes=2, calls=2_000, keys=200, counted_calls=0)


@dataclass(frozen=True)
class OverheadJob:
    """The measurements of one process."""

    calls: int
    """Calls of each subject; series with longer calls divide it."""
    seed: int
    """Determines the order of the calls and of the credentials."""
    keys: int
    """The number of credentials in use, each with equal probability."""
    series: tuple[str, ...] = tuple(SERIES)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> OverheadJob:
        fields: dict[str, Any] = json.loads(text)
        return cls(**{**fields, "series": tuple(fields["series"])})
