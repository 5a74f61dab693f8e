"""The data of a bar chart: every period once, including empty ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from latchkey_service.console.plots import DAYS, HOURS, plot_days, plot_hours

NOW = datetime(2026, 3, 1, 13, 45, 59, tzinfo=UTC)
HOUR = timedelta(hours=1)
THIS = datetime(2026, 3, 1, 13, tzinfo=UTC)


def test_hours_from_the_oldest_to_the_current_one() -> None:
    plot = plot_hours({THIS: 40, THIS - 47 * HOUR: 10, THIS - 48 * HOUR: 99}, NOW)
    assert [bar.start for bar in plot.bars] == [THIS - n * HOUR for n in range(HOURS)][::-1]
    assert (plot.bars[0].requests, plot.bars[-1].requests) == (10, 40)
    assert (plot.total, plot.highest) == (50, 40)
    assert [bar.requests for bar in plot.used] == [40, 10]


def test_days_are_sums_of_their_hours() -> None:
    plot = plot_days({THIS: 1, THIS - 13 * HOUR: 2, THIS - 14 * HOUR: 4}, NOW)
    assert len(plot.bars) == DAYS
    assert [bar.requests for bar in plot.bars[-2:]] == [4, 3]
    assert plot.bars[-1].start == datetime(2026, 3, 1, tzinfo=UTC)
    assert plot.bars[-2].start == datetime(2026, 2, 28, tzinfo=UTC)


def test_bars_start_at_the_bottom_and_fit_the_drawing() -> None:
    plot = plot_hours({THIS: 1_000_000, THIS - HOUR: 1}, NOW)
    for bar in plot.bars:
        assert bar.y + bar.height == plot.height
        assert 0 <= bar.x < bar.x + bar.width <= plot.width
    assert plot.bars[-1].height == plot.height
    # One request among a million is visible, and differs from none.
    assert plot.bars[-2].height > plot.bars[-3].height > 0


def test_a_key_that_was_never_used() -> None:
    plot = plot_days({}, NOW)
    assert (plot.total, plot.highest, plot.used) == (0, 0, [])
