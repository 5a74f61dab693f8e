"""Bar charts of requests over time: the geometry of the SVG, in whole units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

HOURS = 48
DAYS = 90

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_STEP = 12
_GAP = 3
_HEIGHT = 120
_LOWEST = 3
"""A period with requests always has a visible bar."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One period: its start, its requests, and the position of its bar.

    ``refused`` are requests that limits refused, which are not among the ``requests``. Their bar is
    on top of the other one, and ``refused_height`` high.
    """

    start: datetime
    requests: int
    x: int
    y: int
    width: int
    height: int
    refused: int = 0
    refused_height: int = 0


@dataclass(frozen=True, slots=True)
class Plot:
    """A bar chart, oldest period first. ``unit`` is hour or day."""

    unit: str
    bars: list[Bar]

    @property
    def width(self) -> int:
        """The width of the drawing, in its units."""
        return len(self.bars) * _STEP

    @property
    def height(self) -> int:
        """The height of the drawing, in its units."""
        return _HEIGHT

    @property
    def highest(self) -> int:
        """The most requests in one period."""
        return max(bar.requests for bar in self.bars)

    @property
    def total(self) -> int:
        """The requests in all periods."""
        return sum(bar.requests for bar in self.bars)

    @property
    def refused(self) -> int:
        """The requests that limits refused in all periods."""
        return sum(bar.refused for bar in self.bars)

    @property
    def used(self) -> list[Bar]:
        """The periods with requests, refused ones too, newest first."""
        return [bar for bar in reversed(self.bars) if bar.requests or bar.refused]


def plot_hours(
    hours: Mapping[datetime, int], now: datetime, limited: Mapping[datetime, int] | None = None
) -> Plot:
    """The last 48 hours; ``hours`` maps the start of an hour to its requests.

    ``limited`` maps it to the requests that limits refused.
    """
    latest = now.replace(minute=0, second=0, microsecond=0)
    starts = [latest - number * _HOUR for number in reversed(range(HOURS))]
    return _plot("hour", hours, limited or {}, starts)


def plot_days(
    hours: Mapping[datetime, int], now: datetime, limited: Mapping[datetime, int] | None = None
) -> Plot:
    """The last 90 days, in UTC, from the same numbers."""
    latest = now.replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [latest - number * _DAY for number in reversed(range(DAYS))]
    return _plot("day", _by_day(hours), _by_day(limited or {}), starts)


def _by_day(hours: Mapping[datetime, int]) -> dict[datetime, int]:
    days: dict[datetime, int] = {}
    for hour, requests in hours.items():
        day = hour.replace(hour=0)
        days[day] = days.get(day, 0) + requests
    return days


def _plot(
    unit: str,
    periods: Mapping[datetime, int],
    limited: Mapping[datetime, int],
    starts: list[datetime],
) -> Plot:
    highest = max(periods.get(start, 0) + limited.get(start, 0) for start in starts) or 1
    bars = []
    for index, start in enumerate(starts):
        requests, refused = periods.get(start, 0), limited.get(start, 0)
        on_top = max(_LOWEST, round(_HEIGHT * refused / highest)) if refused else 0
        height = max(1 if requests == 0 else _LOWEST, round(_HEIGHT * requests / highest))
        height = min(height, _HEIGHT - on_top)
        place = (index * _STEP, _HEIGHT - height, _STEP - _GAP, height)
        bars.append(Bar(start, requests, *place, refused, on_top))
    return Plot(unit, bars)
