"""Erased values of the audit log: the chain holds, and each erasure must be recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from latchkey.credentials.audit import (
    Action,
    Actor,
    AuditEvent,
    AuditKey,
    AuditRow,
    Head,
    RowsDigest,
)
from latchkey.credentials.audit_check import verify
from latchkey.credentials.audit_erasure import Bounds, parse_ranges, ranges_text
from tests.support.audited import record, result_of
from tests.support.store.audit_box import ROWS, AuditBox
from tests.support.store.new_credentials import NOW

ERASE_ADDRESS = "UPDATE audit SET address = NULL, address_salt = NULL"
ERASE_DETAIL = "UPDATE audit SET detail = '', detail_salt = NULL"
LATER = NOW + timedelta(days=1)


def claim(box: AuditBox, action: Action, **detail: object) -> None:
    """Add a row with the key, as Latchkey does together with an erasure."""
    record(box.store, AuditEvent(LATER, action, Actor.service(), "acct_x", detail))


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


@pytest.mark.parametrize("erasure", [ERASE_ADDRESS, ERASE_DETAIL])
@pytest.mark.parametrize("number", [1, 5, ROWS])
def test_an_erasure_that_nobody_recorded_is_found(
    audit_box: AuditBox, erasure: str, number: int
) -> None:
    audit_box.edit(f"{erasure} WHERE number = {number}")
    assert audit_box.found() == [("erased", number, number)]
    (finding,) = audit_box.verify().findings
    name = "address" if erasure == ERASE_ADDRESS else "detail"
    assert finding.message == f"row {number}: the {name} was erased, and no row records that"


def test_adjacent_erasures_are_one_finding_for_each_column(audit_box: AuditBox) -> None:
    audit_box.edit(f"{ERASE_ADDRESS} WHERE number IN (2, 3, 4, 7)")
    audit_box.edit(f"{ERASE_DETAIL} WHERE number IN (3, 4)")
    assert audit_box.found() == [("erased", 2, 4), ("erased", 7, 7), ("erased", 3, 4)]


def test_a_recorded_expiry_covers_the_rows_before_its_time(audit_box: AuditBox) -> None:
    moment = milliseconds(NOW)
    claim(audit_box, Action.AUDIT_EXPIRE, addresses_before=moment + 1)
    audit_box.edit(ERASE_ADDRESS)
    found = audit_box.verify()
    assert (found.findings, found.erased_addresses, found.erased_details) == ([], ROWS, 0)
    # The row says nothing about details, or about rows that were written after it.
    audit_box.edit(f"{ERASE_DETAIL} WHERE number = 2")
    audit_box.record("later")
    audit_box.edit(f"{ERASE_ADDRESS} WHERE number = {ROWS + 2}")
    assert audit_box.found() == [("erased", ROWS + 2, ROWS + 2), ("erased", 2, 2)]


def test_a_recorded_expiry_covers_no_later_time(audit_box: AuditBox) -> None:
    moment = milliseconds(NOW)
    claim(audit_box, Action.AUDIT_EXPIRE, addresses_before=moment, details_before=moment)
    audit_box.edit(f"{ERASE_ADDRESS} WHERE number = 1")
    assert audit_box.found() == [("erased", 1, 1)]


def test_a_recorded_erasure_covers_the_rows_that_it_lists(audit_box: AuditBox) -> None:
    claim(audit_box, Action.ACCOUNT_ERASE, addresses="2-4,9", details="3")
    audit_box.edit(f"{ERASE_ADDRESS} WHERE number IN (2, 3, 4, 9)")
    audit_box.edit(f"{ERASE_DETAIL} WHERE number = 3")
    assert audit_box.found() == []
    audit_box.edit(f"{ERASE_DETAIL} WHERE number = 4")
    assert audit_box.found() == [("erased", 4, 4)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("subject", "'acct_y'"),
        ("detail", '\'{"addresses":"1-9"}\''),
        ("action", "'audit.expire'"),
    ],
)
def test_a_forged_record_covers_nothing(audit_box: AuditBox, column: str, value: str) -> None:
    """Without the key, neither an altered row nor a new one can claim an erasure."""
    claim(audit_box, Action.ACCOUNT_ERASE, addresses="2", details="")
    audit_box.edit(f"{ERASE_ADDRESS} WHERE number IN (2, 5)")
    assert audit_box.found() == [("erased", 5, 5)]
    audit_box.edit(f"UPDATE audit SET {column} = {value} WHERE number = {ROWS + 1}")
    found = audit_box.found()
    assert ("altered", ROWS + 1, ROWS + 1) in found
    assert ("erased", 5, 5) in found
    assert ("erased", 2, 2) in found


def test_an_inserted_record_covers_nothing(audit_box: AuditBox) -> None:
    audit_box.edit(
        f"{ERASE_ADDRESS} WHERE number = 5",
        "INSERT INTO audit SELECT 10, at, 'account.erase', actor_kind, actor, NULL, subject, "
        '\'{"addresses":"5"}\', mac, NULL, NULL, detail_salt, detail_digest FROM audit '
        "WHERE number = 9",
    )
    assert audit_box.found() == [("altered", 10, 10), ("erased", 5, 5)]


def test_the_detail_of_a_row_about_the_log_is_never_covered(audit_box: AuditBox) -> None:
    """Otherwise an expiry would excuse that findings of the past were removed."""
    record(audit_box.store, AuditEvent(NOW, Action.STORE_RESTORE, Actor.service()))
    claim(audit_box, Action.AUDIT_EXPIRE, details_before=milliseconds(NOW) + 1)
    audit_box.edit(f"{ERASE_DETAIL} WHERE number = {ROWS + 1}")
    assert audit_box.found() == [("erased", ROWS + 1, ROWS + 1)]


def test_an_erased_value_cannot_be_put_back_without_its_salt(audit_box: AuditBox) -> None:
    """The salt is gone with the value: not even the right value can be confirmed."""
    claim(audit_box, Action.ACCOUNT_ERASE, addresses="3", details="")
    audit_box.edit(f"{ERASE_ADDRESS} WHERE number = 3")
    audit_box.edit("UPDATE audit SET address = '192.0.2.1' WHERE number = 3")
    assert audit_box.found() == [("altered", 3, 3)]


# ---- Expiry


def expire(box: AuditBox, bounds: Bounds, now: datetime) -> int:
    """Apply the bounds completely; returns the number of calls."""
    after: int | None = 0
    calls = 0
    while after is not None:
        after = result_of(box.store.audit.expire(bounds, now, after))
        calls += 1
    return calls


def test_an_expiry_erases_and_records_once(
    audit_box: AuditBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latchkey.store.audit_removal._BATCH", 2)
    bounds = Bounds(NOW + timedelta(seconds=1), None)
    assert expire(audit_box, bounds, LATER) == 6
    rows = list(audit_box.store.audit.entries())
    assert [row.is_address_erased for row in rows] == [True] * ROWS + [False]
    assert [row.action for row in rows[ROWS:]] == ["audit.expire"]
    assert json.loads(rows[-1].detail) == {"addresses_before": milliseconds(NOW) + 1000}
    assert (rows[-1].actor_kind, rows[-1].actor) == ("service", None)
    assert audit_box.verify().findings == []
    # Nothing is left to erase, so nothing is recorded.
    assert expire(audit_box, bounds, LATER) == 1
    assert expire(audit_box, Bounds(LATER, None), LATER) == 1
    assert len(list(audit_box.store.audit.entries())) == ROWS + 1


def test_an_interrupted_expiry_continues_under_the_same_record(
    audit_box: AuditBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latchkey.store.audit_removal._BATCH", 4)
    bounds = Bounds(NOW + timedelta(seconds=1), NOW + timedelta(seconds=1))
    assert result_of(audit_box.store.audit.expire(bounds, LATER)) == 4
    assert audit_box.verify().findings == []
    expire(audit_box, bounds, LATER)
    rows = list(audit_box.store.audit.entries())
    assert len(rows) == ROWS + 1
    assert all(row.is_detail_erased for row in rows[:ROWS])
    found = audit_box.verify()
    assert (found.findings, found.erased_addresses, found.erased_details) == ([], ROWS, ROWS)


def test_changes_continue_after_everything_was_erased(audit_box: AuditBox) -> None:
    expire(audit_box, Bounds(LATER, LATER), LATER + timedelta(days=1))
    audit_box.record("after")
    assert audit_box.found() == []


# ---- Ranges


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([5], "5"), ([3, 1, 2], "1-3"), ([1, 2, 4, 9, 8], "1-2,4,8-9")]
)
def test_ranges_are_read_as_written(numbers: list[int], text: str) -> None:
    assert ranges_text(numbers) == text
    read = [one for first, last in parse_ranges(text) for one in range(first, last + 1)]
    assert read == sorted(numbers)


@pytest.mark.parametrize("text", [None, 5, "x", "1-", "-1", "1,,2", "1-2-3", "²"])
def test_other_texts_are_no_ranges(text: object) -> None:
    assert parse_ranges(text) == []


# ---- After a lost key


def restarted(box: AuditBox, key: AuditKey) -> list[AuditRow]:
    """The rows, and one of a new key that starts a new chain."""
    rows = list(box.store.audit.entries())
    before = RowsDigest()
    for row in rows:
        before.add(row)
    detail = json.dumps({"rows_sha256": before.hexdigest(), "head": ""})
    last = rows[-1]
    row = AuditRow(
        last.number + 1, last.at, "audit.restart", "command line", "ann", None, None, detail, ""
    ).with_digests()
    return [*rows, replace(row, mac=key.mac(last.mac, row.fields))]


def test_erasures_before_a_restart_stay_covered(audit_box: AuditBox) -> None:
    """Their record cannot be verified with the new key, but has not changed since."""
    claim(audit_box, Action.ACCOUNT_ERASE, addresses="2-4", details="")
    audit_box.edit(f"{ERASE_ADDRESS} WHERE number IN (2, 3, 4)")
    key = AuditKey(b"n" * 32)
    rows = restarted(audit_box, key)
    head = Head(rows[-1].number, rows[-1].mac)
    assert verify(key, rows, head).findings == []
    # A value that is erased later does not change the digest of the rows, but is not covered.
    rows[5] = replace(rows[5], address=None, address_salt=None)
    (finding,) = verify(key, rows, head).findings
    assert (finding.problem, finding.first) == ("erased", 6)
    # A changed value is found without the lost key.
    rows[5] = replace(rows[5], address="192.0.2.66", address_salt=rows[6].address_salt)
    (finding,) = verify(key, rows, head).findings
    assert finding.message == "row 6: the address does not match its digest; changed"
