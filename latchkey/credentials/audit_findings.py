"""What a verification of the audit log reports: findings, and rows that explain the log's state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from latchkey.wording import counted

_MOST_TOLD = 20

Problem = Literal["altered", "erased", "rechained", "missing", "inserted", "cut off", "head"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem with the rows ``first`` to ``last``.

    ``altered``: does not match its MAC: changed, moved or inserted. With a ``reason``: a value does
    not match its digest, or rows before a restart, which can only be compared as a whole, changed.
    ``erased``: a value was removed, but no row records that. ``rechained``: the rows had findings
    when they were re-chained. ``missing``: a gap in the numbers.
    ``inserted``: a number below 1. ``cut off``: the head records more rows. ``head``: the head file
    is unusable, for ``reason``, or records another row; a truncated log cannot be ruled out.
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
        if self.reason and self.problem in ("altered", "erased"):
            return f"{rows}: {self.reason}"
        if self.problem == "altered":
            verb = "does" if one else "do"
            return f"{rows}: {verb} not match the MAC; changed, moved or inserted"
        if self.problem == "missing":
            return f"{rows}: removed"
        if self.problem == "inserted":
            return f"{rows}: inserted; numbers begin with 1"
        if self.problem == "cut off":
            return f"{rows}: removed from the end; the head file records them"
        return self.reason or (
            f"{rows}: differs from the head file; the end was removed and other rows were written"
        )


@dataclass(frozen=True, slots=True)
class Restart:
    """A row that starts a new chain because the key of the previous chain was lost.

    ``genuine``: written with the current key. Earlier rows cannot be verified with that key, but a
    change since the restart is detected and reported as a finding.
    """

    number: int
    at: str
    actor: str
    genuine: bool

    @property
    def message(self) -> str:
        """The restart in words. Every verification reports it."""
        row = f"row {self.number} ({self.at}, {self.actor})"
        if not self.genuine:
            return f"{row}: claims to start a new chain; this key cannot verify the claim"
        only = self.number == 2
        rows = "row 1" if only else f"rows 1 to {self.number - 1}"
        return (
            f"{row}: a new chain starts here because the key was lost; {rows} cannot be verified "
            f"with this key, except that {'it has' if only else 'they have'} not changed since"
        )


@dataclass(frozen=True, slots=True)
class Restoration:
    """A row that records the restore of a backup despite findings or lost rows.

    ``reasons`` lists the problems that were accepted at the restore. The log cannot show them.
    ``copied``: the whole database was copied to another place instead.
    """

    number: int
    at: str
    actor: str
    reasons: list[str]
    copied: bool = False

    @property
    def message(self) -> str:
        """The restore in words. Every verification reports it."""
        what = "the database was copied" if self.copied else "a backup was restored"
        return (
            f"row {self.number} ({self.at}, {self.actor}): {what} despite problems in the log "
            f"before it: {'; '.join(self.reasons)}"
        )


@dataclass(frozen=True, slots=True)
class Rechaining:
    """A row that records that the first ``rows`` rows got their present MACs.

    ``reasons`` lists the earlier findings. They stay findings until they are ``accepted``.
    """

    number: int
    at: str
    actor: str
    rows: int
    reasons: list[str]
    accepted: bool

    @property
    def message(self) -> str:
        """The re-chaining in words. If it had findings, every verification reports it."""
        return f"row {self.number} ({self.at}, {self.actor}): {self.found}; accepted since"

    @property
    def found(self) -> str:
        """What was found, in words."""
        which, them = ("row 1", "it") if self.rows == 1 else (f"rows 1 to {self.rows}", "them")
        reasons = "; ".join(self.reasons)
        return f"{which} did not verify when row {self.number} re-chained {them}: {reasons}"


def joined(before: Finding, new: Finding) -> Finding | None:
    """Two adjacent findings of one kind as one; None if they cannot be joined."""
    same = (before.problem, before.reason) == (new.problem, new.reason)
    if not same or new.problem == "missing" or new.first != before.last + 1:
        return None
    return Finding(new.problem, before.first, new.last, new.reason)


def messages(findings: list[Finding]) -> list[str]:
    """The findings in words, shortened for a row of the log: the first few and a count."""
    told = [one.message for one in findings[:_MOST_TOLD]]
    if more := len(findings) - len(told):
        told.append(f"and {counted(more, 'more finding')}")
    return told
