"""Bar charts of requests over time: the geometry of the SVG, in whole units."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

HOURS = 48
DAYS = 90

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_STEP = 12
_GAP = 3
_HEIGHT = 120


@dataclass(frozen=True, slots=True)
class Bar:
    """One period: its start, its requests, and the position of its bar."""

    start: datetime
    requests: int
    x: int
    y: int
    width: int
    height: int


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
    def used(self) -> list[Bar]:
        """The periods with requests, newest first."""
        return [bar for bar in reversed(self.bars) if bar.requests]


def plot_hours(hours: dict[datetime, int], now: datetime) -> Plot:
    """The last 48 hours; ``hours`` maps the start of an hour to its requests."""
    latest = now.replace(minute=0, second=0, microsecond=0)
    return _plot("hour", hours, [latest - number * _HOUR for number in reversed(range(HOURS))])


def plot_days(hours: dict[datetime, int], now: datetime) -> Plot:
    """The last 90 days, in UTC, from the same numbers."""
    days: dict[datetime, int] = {}
    for hour, requests in hours.items():
        day = hour.replace(hour=0)
        days[day] = days.get(day, 0) + requests
    latest = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return _plot("day", days, [latest - number * _DAY for number in reversed(range(DAYS))])


def _plot(unit: str, periods: dict[datetime, int], starts: list[datetime]) -> Plot:
    highest = max(periods.get(start, 0) for start in starts) or 1
    bars = []
    for index, start in enumerate(starts):
        requests = periods.get(start, 0)
        # A period with requests always has a visible bar.
        height = max(1 if requests == 0 else 3, round(_HEIGHT * requests / highest))
        bars.append(Bar(start, requests, index * _STEP, _HEIGHT - height, _STEP - _GAP, height))
    return Plot(unit, bars)
