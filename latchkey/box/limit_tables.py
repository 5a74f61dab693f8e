"""The state of limits that workers share: rates, and what was spent of quotas."""

from __future__ import annotations

from typing import Literal

from fastcache.shared import Counters, QuotaTable, RateTable, Region, Segment
from latchkey.box.growing import GrowingRegions

LimitKind = Literal["rates", "default_rates", "quotas"]
"""A table, and the name of its region."""

MOST_ROWS = 1 << 24

_ROW_SIZES: dict[LimitKind, int] = {"rates": 8, "default_rates": 8, "quotas": 32}
_FIRST_ROWS: dict[LimitKind, int] = {"rates": 4_096, "default_rates": 4_096, "quotas": 2_048}
# Address space, of which the system provides the pages that are used.
_PRIVATE_QUOTAS = 1 << 22


class LimitTables:
    """The tables of limits, each with a row per limit.

    ``rates`` and ``quotas`` are by the id of a limit, ``default_rates`` by the number of the
    credential whose default limit it is. A rate that nothing was taken from is zero; a restart of
    the service may forget it. What a quota has left is in the database.
    """

    def __init__(
        self,
        rates: RateTable,
        default_rates: RateTable,
        quotas: QuotaTable,
        segment: Segment | None = None,
        words: Counters | None = None,
    ) -> None:
        """The tables grow in ``segment``; without one they cannot.

        ``words`` are the single words of the memory, one of which says how rates are divided.
        """
        self.words = words
        self.rates = rates
        self.default_rates = default_rates
        self.quotas = quotas
        self._regions = GrowingRegions(segment)

    @staticmethod
    def regions() -> dict[str, Region]:
        """The regions of a segment that ``over`` expects."""
        return {
            kind: Region(_FIRST_ROWS[kind] * size, MOST_ROWS * size)
            for kind, size in _ROW_SIZES.items()
        }

    @classmethod
    def over(cls, segment: Segment, words: Counters) -> LimitTables:
        """The tables in a segment."""

        def rates(kind: LimitKind) -> RateTable:
            return RateTable(
                MOST_ROWS, memory=segment.memory(kind), backed=segment.backed_word(kind)
            )

        quotas = QuotaTable(
            MOST_ROWS, memory=segment.memory("quotas"), backed=segment.backed_word("quotas")
        )
        return cls(rates("rates"), rates("default_rates"), quotas, segment, words)

    @classmethod
    def private(cls, words: Counters) -> LimitTables:
        """The tables of a single process."""
        quotas = QuotaTable(_PRIVATE_QUOTAS)
        return cls(RateTable(MOST_ROWS), RateTable(MOST_ROWS), quotas, words=words)

    def make_room(self, kind: LimitKind, row: int) -> bool:
        """Allocate memory for a row and some more; False if there is none."""
        table: RateTable | QuotaTable = getattr(self, kind)
        if table.backed_rows > row:
            return True
        return self._regions.grow(kind, row, most_rows=MOST_ROWS, row_size=_ROW_SIZES[kind])
