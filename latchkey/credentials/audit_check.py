"""Verification of the audit log: every row is unchanged, in its place, and none is missing.

A value that is present must match its digest. A value that is missing must be recorded as erased.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from latchkey.credentials.audit import NO_ROWS, Action, AuditKey, AuditRow, Head, RowsDigest
from latchkey.credentials.audit_encoding import value_digest
from latchkey.credentials.audit_erasure import Erasures
from latchkey.credentials.audit_findings import (
    Finding,
    Rechaining,
    Restart,
    Restoration,
    joined,
)

LOG_GOES_ON = "goes on"
"""The value in the row of a restore whose log continues from the end of the previous one."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a verification: the number of rows, the last row, and the findings.

    ``restarts``, ``restorations`` and accepted ``rechainings`` are not findings, but are always
    reported. ``erased_addresses`` and ``erased_details`` count the erased values.
    """

    rows: int
    last: Head
    findings: list[Finding]
    restarts: list[Restart]
    restorations: list[Restoration]
    rechainings: list[Rechaining]
    erased_addresses: int = 0
    erased_details: int = 0

    @property
    def verified_from(self) -> int:
        """The number of the first row that the key verifies."""
        return max((one.number for one in self.restarts if one.genuine), default=1)

    @property
    def explained(self) -> list[Restart | Restoration | Rechaining]:
        """The rows that are always reported, although they are not findings."""
        told = [one for one in self.rechainings if one.reasons and one.accepted]
        return [*self.restarts, *self.restorations, *told]

    @property
    def unaccepted(self) -> list[int]:
        """The numbers of the rows whose re-chaining had findings that were not accepted."""
        return [one.number for one in self.rechainings if one.reasons and not one.accepted]


class Chain:
    """Verifies a log row by row, oldest first."""

    def __init__(self, key: AuditKey, *, former: bool) -> None:
        """``former``: rows of version 0.2, which are not re-chained yet, may be there."""
        self._key = key
        self._admits_former = former
        self._number = 0
        # The MACs that the next row may continue: the stored MAC of the row before it, and the MAC
        # of that row's content if it differs; none after a gap.
        self._former: tuple[str, ...] = (NO_ROWS.mac,)
        self.rows = 0
        self.last = NO_ROWS
        # Whether the last row's MAC was verified, and its values match their digests; the first row
        # after a gap is taken as given.
        self.proven = False
        # What is wrong with the values of the last row, if its MAC does not match: it may have been
        # written with a key that was lost since.
        self.doubted: list[Finding] = []

    def follow(self, entry: AuditRow) -> Iterator[Finding]:
        """The findings about the next row, and about missing rows before it."""
        self.rows += 1
        self.proven = False
        self.doubted = []
        number = entry.number
        if number < 1:
            yield Finding("inserted", number, number)
            return
        if number > self._number + 1:
            yield Finding("missing", self._number + 1, number - 1)
            self._former = ()
        expected = [self._mac(former, entry) for former in self._former]
        self._former = (entry.mac,)
        # After a gap the row cannot be verified. It is taken as given, because the gap is reported.
        if expected and not any(_equal(mac, entry.mac) for mac in expected):
            yield Finding("altered", number, number)
            self._former = (entry.mac, expected[0])
            self.doubted = self._about_values(entry)
        else:
            changed = self._about_values(entry)
            yield from changed
            self.proven = bool(expected) and not changed
        self._number = number
        self.last = Head(number, entry.mac)

    def _about_values(self, entry: AuditRow) -> list[Finding]:
        if self._is_former(entry):
            return []
        return [
            Finding(
                "altered",
                entry.number,
                entry.number,
                f"the {name} does not match its digest; changed",
            )
            for name in changed_values(entry)
        ]

    def _is_former(self, entry: AuditRow) -> bool:
        return self._admits_former and entry.is_former

    def _mac(self, previous: str, entry: AuditRow) -> str:
        if self._is_former(entry):
            return self._key.former_mac(previous, entry.former_fields)
        return self._key.mac(previous, entry.fields)


def changed_values(entry: AuditRow) -> list[Literal["address", "detail"]]:
    """The columns whose value is neither the one that was digested, nor erased with its salt."""
    changed: list[Literal["address", "detail"]] = []
    if entry.has_address:
        whole = _matches(entry.address_salt, "address", entry.address, entry.address_digest)
    else:
        whole = entry.address is None and entry.address_salt is None
    if not (whole or entry.is_address_erased):
        changed.append("address")
    if not (
        entry.is_detail_erased
        or _matches(entry.detail_salt, "detail", entry.detail, entry.detail_digest)
    ):
        changed.append("detail")
    return changed


class _Verifier:
    """Reads a log once, oldest row first, and then judges it."""

    def __init__(self, key: AuditKey, head: Head | str | None) -> None:
        self._head = head
        # A head that this version wrote rules out rows that are not re-chained.
        self._chain = Chain(key, former=not isinstance(head, Head) or head.is_former)
        self._findings: list[Finding] = []
        self._doubted: list[Finding] = []
        # With each restart, whether the rows before it are as they were then.
        self._restarts: list[tuple[Restart, bool]] = []
        self._restorations: list[Restoration] = []
        self._rechainings: list[tuple[Rechaining, bool, dict[str, Any]]] = []
        self._accepted: set[object] = set()
        self._erasures = Erasures()
        self._before = RowsDigest()
        self._at_head: str | None = None

    def read(self, entry: AuditRow) -> None:
        for finding in self._chain.follow(entry):
            self._add(finding)
        self._doubted += self._chain.doubted
        self._erasures.note(entry)
        self._understand(entry, self._chain.proven)
        self._before.add(entry)
        if isinstance(self._head, Head) and entry.number == self._head.number:
            self._at_head = entry.mac

    def _add(self, finding: Finding) -> None:
        together = joined(self._findings[-1], finding) if self._findings else None
        if together is None:
            self._findings.append(finding)
        else:
            self._findings[-1] = together

    def _understand(self, entry: AuditRow, proven: bool) -> None:
        """Keep what a row of an action on the log records."""
        match entry.action:
            case Action.AUDIT_RESTART:
                same = proven and _equal(
                    self._before.hexdigest(), _detail(entry).get("rows_sha256")
                )
                restart = Restart(entry.number, *_when_and_who(entry), proven)
                self._restarts.append((restart, same))
            case Action.STORE_RESTORE | Action.STORE_COPY if proven:
                if reasons := _reasons_of_restore(_detail(entry)):
                    copied = entry.action == Action.STORE_COPY
                    self._restorations.append(
                        Restoration(entry.number, *_when_and_who(entry), reasons, copied)
                    )
            case Action.AUDIT_ACCEPT if proven:
                self._accepted.update(_detail(entry).get("rechained", ()))
            case Action.AUDIT_RECHAIN:
                detail = _detail(entry)
                rows, reasons = detail.get("rows"), detail.get("findings", [])
                if isinstance(rows, int) and rows < entry.number and isinstance(reasons, list):
                    made = Rechaining(entry.number, *_when_and_who(entry), rows, reasons, False)
                    self._rechainings.append((made, proven, detail))
            case Action.AUDIT_EXPIRE | Action.ACCOUNT_ERASE:
                self._erasures.claim(entry.number, entry.action, _detail(entry), proven)

    def judge(self) -> Verification:
        # Rows before a genuine restart are as they were then, whatever key they were written with.
        settled = max((one.number for one, same in self._restarts if same), default=0)

        def is_trusted(number: int, proven: bool) -> bool:
            return proven or number < settled

        rechainings = [
            (replace(made, accepted=made.number in self._accepted), detail)
            for made, proven, detail in self._rechainings
            if is_trusted(made.number, proven)
        ]
        rechained_to = max((made.rows for made, _ in rechainings), default=0)
        findings = self._findings
        for restart, same in self._restarts:
            # Rows that were re-chained later have MACs of the key that was used then.
            if restart.genuine and restart.number > rechained_to:
                # No earlier row was written with this key. Digests of values need no key.
                findings = [
                    one
                    for one in findings
                    if one.problem != "altered" or one.reason or one.first > restart.number
                ]
                findings += [one for one in self._doubted if one.first < restart.number]
                self._doubted = []
                if not same:
                    reason = f"changed since row {restart.number} started a new chain"
                    findings.append(Finding("altered", 1, restart.number - 1, reason))
        findings = [*findings, *self._erasures.findings(is_trusted)]
        findings += [
            Finding("rechained", 1, made.rows, f"{made.found}; see: latchkey audit accept")
            for made, _ in rechainings
            if made.reasons and not made.accepted
        ]
        findings += self._about_head({head for _, detail in rechainings for head in heads(detail)})
        return Verification(
            self._chain.rows,
            self._chain.last,
            findings,
            [one for one, _ in self._restarts],
            self._restorations,
            [made for made, _ in rechainings],
            self._erasures.addresses,
            self._erasures.details,
        )

    def _about_head(self, rechained: set[Head]) -> Iterator[Finding]:
        """``rechained``: the heads that a re-chaining replaced."""
        head, last = self._head, self._chain.last.number
        if isinstance(head, str):
            yield Finding("head", last, last, head)
        elif head is None or (head.is_former and head in rechained):
            return
        elif head.number > last:
            yield Finding("cut off", last + 1, head.number)
        elif self._at_head is not None and not _equal(head.mac, self._at_head):
            yield Finding("head", head.number, head.number)


def verify(key: AuditKey, entries: Iterable[AuditRow], head: Head | str | None) -> Verification:
    """Verify a whole log, oldest row first.

    ``head`` is the head file's content, read before the rows; or the reason why it is unusable.
    None: the head is that of another log, and is not compared.
    """
    verifier = _Verifier(key, head)
    for entry in entries:
        verifier.read(entry)
    return verifier.judge()


def heads(detail: dict[str, Any]) -> Iterator[Head]:
    """The heads that the row of a re-chaining replaced: the kept one, and the last of the rows."""
    claims = [(detail.get("rows"), detail.get("mac"))]
    if isinstance(head := detail.get("head"), dict):
        claims.append((head.get("number"), head.get("mac")))
    for number, mac in claims:
        if isinstance(number, int) and isinstance(mac, str):
            yield Head(number, mac)


def is_genuine(key: AuditKey, previous: str, entry: AuditRow) -> bool:
    """Whether one row was written with the key after a row with the MAC ``previous``."""
    return _equal(key.mac(previous, entry.fields), entry.mac) and not changed_values(entry)


def _matches(salt: str | None, name: str, value: str | None, digest: str | None) -> bool:
    if salt is None or value is None or digest is None:
        return False
    return _equal(value_digest(salt, name, value), digest)


def _detail(entry: AuditRow) -> dict[str, Any]:
    """The detail of a row; empty if it was altered."""
    try:
        detail = json.loads(entry.detail)
    except (TypeError, ValueError):
        return {}
    return detail if isinstance(detail, dict) else {}


def _when_and_who(entry: AuditRow) -> tuple[str, str]:
    shown = entry.readable
    return str(entry.json_fields["at"]), f"{shown.actor_kind} {shown.actor or ''}".rstrip()


def _reasons_of_restore(detail: dict[str, Any]) -> list[str]:
    """The findings and lost rows that the row of a restore records."""
    reasons = list(detail.get("findings", []))
    head, rows = detail.get("head", 0), detail.get("rows", 0)
    if detail.get("log") != LOG_GOES_ON and (isinstance(head, str) or head > rows):
        said = head if isinstance(head, str) else f"the head file recorded row {head}"
        reasons.append(f"rows after row {rows} of the backup are lost, and {said}")
    return reasons


def _equal(one: str, other: object) -> bool:
    return isinstance(other, str) and hmac.compare_digest(
        one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass")
    )
