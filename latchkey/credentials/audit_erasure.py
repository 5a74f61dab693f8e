"""Erased values of the audit log, and the rows that record their erasure.

An erased value leaves its digest. The row ``audit.expire`` covers the values of rows before a time,
and ``account.erase`` those of the rows that it lists. Every other erased value is a finding.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from latchkey.credentials.audit import Action, AuditRow
from latchkey.credentials.audit_findings import Finding, joined
from latchkey.credentials.times import to_milliseconds

KEPT_DETAILS = frozenset(
    {
        Action.ACCOUNT_ERASE,
        Action.AUDIT_ACCEPT,
        Action.AUDIT_EXPIRE,
        Action.AUDIT_RECHAIN,
        Action.AUDIT_RESTART,
        Action.STORE_RESTORE,
        Action.STORE_COPY,
    }
)
"""The actions whose details are never erased: verification needs them."""

_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Bounds:
    """Times in UTC: addresses and details of rows before them have expired. None: never."""

    addresses_before: datetime | None = None
    details_before: datetime | None = None

    @property
    def detail(self) -> dict[str, object]:
        """The bounds for the row ``audit.expire``, in milliseconds since 1970."""
        moments = {"addresses": self.addresses_before, "details": self.details_before}
        return {
            f"{name}_before": to_milliseconds(moment)
            for name, moment in moments.items()
            if moment is not None
        }


def ranges_text(numbers: Iterable[int]) -> str:
    """Row numbers as a text such as ``3-7,9``."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def parse_ranges(text: object) -> list[tuple[int, int]]:
    """The ranges in a text of ``ranges_text``; none if the text has another form."""
    if not isinstance(text, str) or not text:
        return []
    ranges = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not all(one.isascii() and one.isdigit() for one in (first, last if dash else first)):
            return []
        ranges.append((int(first), int(last or first)))
    return ranges


@dataclass(slots=True)
class _Column:
    """The erased values of one column, and the rows that record erasures."""

    what: str
    erased: list[tuple[int, int]] = field(default_factory=list)
    never: list[int] = field(default_factory=list)
    bounds: list[tuple[int, bool, int]] = field(default_factory=list)
    listed: list[tuple[int, bool, list[tuple[int, int]]]] = field(default_factory=list)

    def uncovered(self, is_trusted: Callable[[int, bool], bool]) -> Iterator[int]:
        """The numbers of the rows whose value was erased without a trusted record."""
        bounds = [one for one in self.bounds if is_trusted(one[0], one[1])]
        numbers = [number for number, _, _ in bounds]
        # The latest time that a row from this one on names.
        latest = [0] * (len(bounds) + 1)
        for place in range(len(bounds) - 1, -1, -1):
            latest[place] = max(latest[place + 1], bounds[place][2])
        ranges = sorted(
            (first, min(last, number - 1))
            for number, proven, listed in self.listed
            if is_trusted(number, proven)
            for first, last in listed
        )
        starts, ends = _merged(ranges)
        for number, at in self.erased:
            if at < latest[bisect_right(numbers, number)]:
                continue
            place = bisect_right(starts, number) - 1
            if place < 0 or ends[place] < number:
                yield number
        yield from self.never

    def findings(self, is_trusted: Callable[[int, bool], bool]) -> Iterator[Finding]:
        reason = f"the {self.what} was erased, and no row records that"
        before: Finding | None = None
        for number in sorted(self.uncovered(is_trusted)):
            new = Finding("erased", number, number, reason)
            together = None if before is None else joined(before, new)
            if before is not None and together is None:
                yield before
            before = together or new
        if before is not None:
            yield before


class Erasures:
    """Collects the erased values of a log while it is read, oldest row first."""

    def __init__(self) -> None:
        self._addresses = _Column("address")
        self._details = _Column("detail")

    @property
    def addresses(self) -> int:
        """How many addresses are erased."""
        return len(self._addresses.erased)

    @property
    def details(self) -> int:
        """How many details are erased."""
        return len(self._details.erased)

    def note(self, entry: AuditRow) -> None:
        """Note the erased values of a row."""
        # A time that is not a number was altered, which is reported.
        stored: object = entry.at
        at = stored if isinstance(stored, int) else _LARGEST
        if entry.is_address_erased:
            self._addresses.erased.append((entry.number, at))
        if entry.is_detail_erased:
            if entry.action in KEPT_DETAILS:
                self._details.never.append(entry.number)
            else:
                self._details.erased.append((entry.number, at))

    def claim(self, number: int, action: str, detail: Mapping[str, object], proven: bool) -> None:
        """Note the erasures that a row records; ``proven``: its MAC was verified."""
        for column, name in ((self._addresses, "addresses"), (self._details, "details")):
            before = detail.get(f"{name}_before")
            if action == Action.AUDIT_EXPIRE and isinstance(before, int):
                column.bounds.append((number, proven, before))
            if action == Action.ACCOUNT_ERASE:
                column.listed.append((number, proven, parse_ranges(detail.get(name))))

    def findings(self, is_trusted: Callable[[int, bool], bool]) -> Iterator[Finding]:
        """The values that were erased without a record in a row that ``is_trusted``.

        ``is_trusted`` gets the number of a row, and whether its MAC was verified.
        """
        yield from self._addresses.findings(is_trusted)
        yield from self._details.findings(is_trusted)


def _merged(ranges: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Sorted ranges without overlaps, as their first and their last numbers."""
    starts: list[int] = []
    ends: list[int] = []
    for first, last in ranges:
        if ends and first <= ends[-1] + 1:
            ends[-1] = max(ends[-1], last)
        else:
            starts.append(first)
            ends.append(last)
    return starts, ends
