"""Times that a test depends on: keys that expire during it, and the end of an hour."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

T = TypeVar("T")
_LIVES = (1, 4, 16, 60)
"""Seconds."""


def in_time(use: Callable[[datetime], T]) -> tuple[T, datetime]:
    """Call ``use`` with a time soon, by which it must have returned; its result, and the time.

    A machine that was too slow gets more time: ``use`` is then called again, and may have failed.
    """
    for seconds in _LIVES:
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        try:
            result = use(end)
        except (AssertionError, RuntimeError):
            if datetime.now(UTC) < end:
                raise
        else:
            if datetime.now(UTC) < end:
                return result, end
    raise AssertionError("the machine is too slow")


def begin_within_an_hour() -> None:
    """Wait for the next hour if this one is almost over, before uses that count in one hour."""
    now = datetime.now(UTC)
    if now.minute == 59 and now.second >= 40:
        time.sleep(60 - now.second)


def await_end(end: datetime) -> None:
    """Return as soon as this time has passed."""
    while (left := (end - datetime.now(UTC)).total_seconds()) >= 0:
        time.sleep(left + 0.001)
