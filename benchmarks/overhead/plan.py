"""What is compared with what, and what one process measures of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SERIES: Mapping[str, int] = {
    "hits": 1,
    "ways": 4,
    "metrics": 1,
    "flask": 2,
    "peers": 3,
    "django": 10,
}
"""Each series of subjects, and by how much its rounds are fewer, since they take longer."""


@dataclass(frozen=True)
class OverheadSettings:
    """How much is measured."""

    processes: int = 16
    calls: int = 20_000
    keys: int = 1_000
    counted_calls: int = 100
    """Calls of which instructions are counted; with 0, none are."""


FULL = OverheadSettings()
QUICK = OverheadSettings(processes=2, calls=2_000, keys=200, counted_calls=0)


@dataclass(frozen=True)
class OverheadJob:
    """What one process measures."""

    calls: int
    """Calls of each subject; a series with longer ones divides it."""
    seed: int
    """Decides the order of the calls, and who makes them."""
    keys: int
    """Credentials in use, each as often as any other."""
    series: tuple[str, ...] = tuple(SERIES)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> OverheadJob:
        fields: dict[str, Any] = json.loads(text)
        return cls(**{**fields, "series": tuple(fields["series"])})
