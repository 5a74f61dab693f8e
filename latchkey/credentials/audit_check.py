"""Verification of the audit log: every row is unchanged, in its place, and none is missing."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from latchkey.credentials.audit import NO_ROWS, Action, AuditKey, AuditRow, Head, RowsDigest
from latchkey.wording import counted

LOG_GOES_ON = "goes on"
"""The value in the row of a restore whose log continues from the end of the previous one."""

_MOST_TOLD = 20

Problem = Literal["altered", "missing", "inserted", "cut off", "head"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem with the rows ``first`` to ``last``.

    ``altered``: does not match its MAC: changed, moved or inserted. With a ``reason``: rows before
    a restart, which can only be compared as a whole. ``missing``: a gap in the numbers.
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
        if self.problem == "altered" and self.reason:
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

    ``reasons`` lists what was accepted at the restore. The log alone cannot show it.
    """

    number: int
    at: str
    actor: str
    reasons: list[str]

    @property
    def message(self) -> str:
        """The restore in words. Every verification reports it."""
        return (
            f"row {self.number} ({self.at}, {self.actor}): a backup was restored despite problems "
            f"in the log before it: {'; '.join(self.reasons)}"
        )


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a verification: the number of rows, the last row, and the findings.

    ``restarts`` and ``restorations`` are not findings, but are always reported.
    """

    rows: int
    last: Head
    findings: list[Finding]
    restarts: list[Restart]
    restorations: list[Restoration]

    @property
    def verified_from(self) -> int:
        """The number of the first row that the key verifies."""
        return max((one.number for one in self.restarts if one.genuine), default=1)


class Chain:
    """Verifies a log row by row, oldest first."""

    def __init__(self, key: AuditKey) -> None:
        self._key = key
        self._number = 0
        # The MACs that the next row may continue: the stored MAC of the row before it, and the MAC
        # of that row's content if it differs; none after a gap.
        self._former: tuple[str, ...] = (NO_ROWS.mac,)
        self.rows = 0
        self.last = NO_ROWS
        # Whether the last row's MAC was verified; the first one after a gap is taken as given.
        self.proven = False

    def follow(self, entry: AuditRow) -> Iterator[Finding]:
        """The findings about the next row, and about missing rows before it."""
        self.rows += 1
        self.proven = False
        number = entry.number
        if number < 1:
            yield Finding("inserted", number, number)
            return
        if number > self._number + 1:
            yield Finding("missing", self._number + 1, number - 1)
            self._former = ()
        expected = [self._key.mac(former, entry.fields) for former in self._former]
        self._former = (entry.mac,)
        # After a gap the row cannot be verified. It is taken as given, because the gap is reported.
        if expected and not any(_equal(mac, entry.mac) for mac in expected):
            yield Finding("altered", number, number)
            self._former = (entry.mac, expected[0])
        else:
            self.proven = bool(expected)
        self._number = number
        self.last = Head(number, entry.mac)


def verify(key: AuditKey, entries: Iterable[AuditRow], head: Head | str) -> Verification:
    """Verify a whole log, oldest row first.

    ``head`` is the head file's content, read before the rows; or the reason why it is unusable.
    """
    chain = Chain(key)
    findings: list[Finding] = []
    restarts: list[Restart] = []
    restorations: list[Restoration] = []
    before = RowsDigest()
    at_head = None
    for entry in entries:
        for finding in chain.follow(entry):
            if findings and (joined := _joined(findings[-1], finding)) is not None:
                findings[-1] = joined
            else:
                findings.append(finding)
        if entry.action == Action.AUDIT_RESTART.value:
            restarts.append(Restart(entry.number, *_when_and_who(entry), chain.proven))
            if chain.proven:
                # No earlier row was written with this key.
                findings = [one for one in findings if one.problem != "altered"]
                if not _as_then(entry, before):
                    reason = f"changed since row {entry.number} started a new chain"
                    findings.append(Finding("altered", 1, entry.number - 1, reason))
        if entry.action == Action.STORE_RESTORE.value and chain.proven:
            if reasons := _accepted(json.loads(entry.detail)):
                restorations.append(Restoration(entry.number, *_when_and_who(entry), reasons))
        before.add(entry)
        if isinstance(head, Head) and entry.number == head.number:
            at_head = entry.mac
    last = chain.last.number
    if isinstance(head, str):
        findings.append(Finding("head", last, last, head))
    elif head.number > last:
        findings.append(Finding("cut off", last + 1, head.number))
    elif at_head is not None and not _equal(head.mac, at_head):
        findings.append(Finding("head", head.number, head.number))
    return Verification(chain.rows, chain.last, findings, restarts, restorations)


def messages(findings: list[Finding]) -> list[str]:
    """The findings in words, shortened for a row of the log: the first few and a count."""
    told = [one.message for one in findings[:_MOST_TOLD]]
    if more := len(findings) - len(told):
        told.append(f"and {counted(more, 'more finding')}")
    return told


def _when_and_who(entry: AuditRow) -> tuple[str, str]:
    shown = entry.readable
    return str(entry.json_fields["at"]), f"{shown.actor_kind} {shown.actor or ''}".rstrip()


def _accepted(detail: dict[str, Any]) -> list[str]:
    """The findings and lost rows that the row of a restore records."""
    reasons = list(detail.get("findings", []))
    head, rows = detail.get("head", 0), detail.get("rows", 0)
    if detail.get("log") != LOG_GOES_ON and (isinstance(head, str) or head > rows):
        said = head if isinstance(head, str) else f"the head file recorded row {head}"
        reasons.append(f"rows after row {rows} of the backup are lost, and {said}")
    return reasons


def _as_then(entry: AuditRow, before: RowsDigest) -> bool:
    """Whether the rows before a genuine restart are unchanged since."""
    return _equal(before.hexdigest(), json.loads(entry.detail).get("rows_sha256"))


def _joined(before: Finding, new: Finding) -> Finding | None:
    """Two adjacent findings of one kind as one; None if they cannot be joined."""
    if before.problem != new.problem or new.problem == "missing" or new.first != before.last + 1:
        return None
    return Finding(new.problem, before.first, new.last)


def _equal(one: str, other: object) -> bool:
    return isinstance(other, str) and hmac.compare_digest(
        one.encode(), other.encode("utf-8", "surrogatepass")
    )
