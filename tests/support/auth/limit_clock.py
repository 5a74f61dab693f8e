"""Tables of limits by a clock that only tests move."""

from __future__ import annotations

from fastcache.shared import QuotaTable, RateTable
from latchkey.box.limit_tables import LimitTables


class Clock:
    """Nanoseconds that only a test moves on."""

    def __init__(self) -> None:
        self.now = 10**15

    def __call__(self) -> int:
        return self.now


def new_tables(clock: Clock) -> LimitTables:
    """Tables of a few rows by this clock."""
    return LimitTables(RateTable(64, timer=clock), RateTable(64, timer=clock), QuotaTable(64))
