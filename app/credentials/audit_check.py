"""Verifying the audit log: that every row is what was written, in its place, to the end."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from app.credentials.audit import NO_ROWS, AuditKey, Entry, Head

Problem = Literal["altered", "missing", "inserted", "cut off", "head"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with the rows ``first`` to ``last``.

    ``altered``: not what was written under that number, whether changed, moved or put there.
    ``missing``: a gap in the numbers. ``inserted``: a number that none can have. ``cut off``:
    the head says that there were more. ``head``: the head itself is not to be had, as ``reason``
    says, or names another row; then a cut off end cannot be ruled out.
    """

    problem: Problem
    first: int
    last: int
    reason: str = ""

    @property
    def message(self) -> str:
        """The finding in words."""
        one = self.first == self.last
        rows = f"row {self.first}" if one else f"rows {self.first} to {self.last}"
        were = "was" if one else "were"
        if self.problem == "altered":
            return (
                f"{rows}: {'this is' if one else 'these are'} not what was written there, but "
                "changed, moved or put there"
            )
        if self.problem == "missing":
            return f"{rows}: {were} removed"
        if self.problem == "inserted":
            return f"{rows}: {were} put there, since numbers begin with 1"
        if self.problem == "cut off":
            return f"{rows}: {were} cut off, for the head says that the log went that far"
        return self.reason or (
            f"{rows}: not the one that the head names; the end was cut off, and others written"
        )


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of it: how many rows there are, the last of them, and what is wrong."""

    rows: int
    last: Head
    findings: list[Finding]


class Chain:
    """Follows a log row by row, the oldest first."""

    def __init__(self, key: AuditKey) -> None:
        self._key = key
        self._number = 0
        # What the next row's MAC may begin with: the stored MAC of the row before it, and the one
        # that belongs to its content where the two differ; none after a gap.
        self._former: tuple[str, ...] = (NO_ROWS.mac,)
        self.rows = 0
        self.last = NO_ROWS

    def follow(self, entry: Entry) -> Iterator[Finding]:
        """What is wrong with the next row, and with what should be before it."""
        self.rows += 1
        number = entry.number
        if number < 1:
            yield Finding("inserted", number, number)
            return
        if number > self._number + 1:
            yield Finding("missing", self._number + 1, number - 1)
            self._former = ()
        expected = [self._key.mac(former, entry.fields) for former in self._former]
        self._former = (entry.mac,)
        # After a gap nothing says what the row should be: it is believed, as the gap is told.
        if expected and not any(_equal(mac, entry.mac) for mac in expected):
            yield Finding("altered", number, number)
            self._former = (entry.mac, expected[0])
        self._number = number
        self.last = Head(number, entry.mac)


def verify(key: AuditKey, entries: Iterable[Entry], head: Head | str) -> Verification:
    """Look through a whole log, the oldest row first.

    ``head`` is what the head file says, read before the rows; or why there is none.
    """
    chain = Chain(key)
    findings: list[Finding] = []
    at_head = None
    for entry in entries:
        for finding in chain.follow(entry):
            _add(findings, finding)
        if isinstance(head, Head) and entry.number == head.number:
            at_head = entry.mac
    last = chain.last.number
    if isinstance(head, str):
        findings.append(Finding("head", last, last, head))
    elif head.number > last:
        findings.append(Finding("cut off", last + 1, head.number))
    elif at_head is not None and not _equal(head.mac, at_head):
        findings.append(Finding("head", head.number, head.number))
    return Verification(chain.rows, chain.last, findings)


def _add(findings: list[Finding], new: Finding) -> None:
    """Add a finding; neighbours of one kind become one."""
    if findings and (before := findings[-1]).problem == new.problem:
        if new.problem != "missing" and new.first == before.last + 1:
            findings[-1] = Finding(new.problem, before.first, new.last)
            return
    findings.append(new)


def _equal(one: str, other: object) -> bool:
    return isinstance(other, str) and hmac.compare_digest(
        one.encode(), other.encode("utf-8", "surrogatepass")
    )
