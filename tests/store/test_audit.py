"""The audit log with a real database: it is written with each change, and tampering is detected."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from latchkey.credentials.audit import NO_MAC, AuditKey, AuditRow
from latchkey.credentials.audit_check import verify
from latchkey.credentials.audit_encoding import encode
from latchkey.errors import DuplicateApiKey, StoreError
from latchkey.store.database_urls import database_at
from latchkey.store.protocols import Store
from tests.support.audited import (
    AUDIT_KEY,
    add,
    new_seal,
    open_store,
)
from tests.support.store.audit_box import ROWS, AuditBox
from tests.support.store.new_credentials import new_credential

COLUMNS = (
    "at, action, actor_kind, actor, address, address_salt, address_digest, subject, detail, "
    "detail_salt, detail_digest"
)
INSERT = f"INSERT INTO audit (number, {COLUMNS}, mac)"
ROOT = Path(__file__).parents[2]


# ---- Rows


def test_a_store_without_the_key_changes_nothing(database: Path) -> None:
    with closing(database_at(f"sqlite:///{database}").open_store()) as store:
        with pytest.raises(StoreError, match="key of the audit log"):
            add(store, new_credential())
        assert store.page(None, 10, None) == []


def test_numbers_have_no_gaps_with_several_writers_and_failures(database: Path) -> None:
    """Writers in threads and processes, and transactions that are rolled back."""
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.support.audited import *; from tests.support.store.new_credentials import NOW\n"
        "from latchkey.credentials.audit import AuditEvent, Action\n"
        "store = open_store(f'sqlite:///{sys.argv[1]}', write_timeout=60.0)\n"
        "for _ in range(15): record(store, AuditEvent(NOW, Action.ADMIN_CREATE, TESTER))\n"
        "store.close()\n"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(database)], cwd=ROOT) for _ in range(2)
    ]

    def write(store: Store) -> None:
        for _ in range(15):
            added = new_credential()
            add(store, added)
            with pytest.raises(DuplicateApiKey):
                add(store, added)

    with closing(open_store(f"sqlite:///{database}", write_timeout=60.0)) as store:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(write, [store] * 2))
        assert [child.wait(60) for child in children] == [0, 0]
        head = store.audit.last()
        assert head.number == 60
        assert new_seal(database).head.read() == head
        assert verify(AUDIT_KEY, store.audit.entries(), head).findings == []


def test_the_encoding_is_the_documented_one() -> None:
    """Computed from docs/reference/audit-format.md only, without the application's code."""
    written = AuditRow(
        1, 1_768_473_000_123, "key.revoke", "key", "ü", "192.0.2.1", "ak_live_x", "{}", ""
    ).with_digests()
    assert written.address_salt != written.detail_salt
    digests = {}
    for name, salt, value in (
        ("address", written.address_salt, "192.0.2.1"),
        ("detail", written.detail_salt, "{}"),
    ):
        assert salt is not None
        assert len(bytes.fromhex(salt)) == 16
        parts = ("latchkey.audit.value.v2", salt, name, value)
        text = "".join(f"{len(part)}:{part}," for part in parts)
        digests[name] = hashlib.sha256(text.encode()).hexdigest()
    encoded = (
        b"17:latchkey.audit.v2,64:" + b"0" * 64 + b",1:1,13:1768473000123,10:key.revoke,3:key,"
        b"2:\xc3\xbc,64:"
        + digests["address"].encode()
        + b",9:ak_live_x,64:"
        + digests["detail"].encode()
        + b","
    )
    assert encode(b"latchkey.audit.v2", (NO_MAC, *written.fields)) == encoded
    expected = hmac.new(b"k" * 32, encoded, hashlib.sha256).hexdigest()
    assert AuditKey(b"k" * 32).mac(NO_MAC, written.fields) == expected
    without = replace(written, address=None, address_salt=None, address_digest=None)
    assert b",-9:ak_live_x," in encode(b"latchkey.audit.v2", (NO_MAC, *without.fields))
    assert "k" * 8 not in repr(AuditKey(b"k" * 32))


def test_different_rows_have_different_encodings() -> None:
    texts = ["", "-", ",", "1:a,", "a", None, "a,1:b"]
    seen = {encode(b"x", row) for row in itertools.product(texts, repeat=3)}
    assert len(seen) == len(texts) ** 3


# ---- Tampering


def test_an_unchanged_log_is_intact(audit_box: AuditBox) -> None:
    found = audit_box.verify()
    assert (found.rows, found.last.number, found.findings) == (ROWS, ROWS, [])


@pytest.mark.parametrize(
    "change",
    [
        "at = at + 1",
        "action = 'key.revoke'",
        "actor_kind = 'key'",
        "actor = 'bob'",
        "actor = NULL",
        "actor = ''",
        "actor = x'616e6e'",
        "address = '192.0.2.2'",
        "subject = 'admin 6'",
        "subject = NULL",
        "detail = '{ }'",
        "actor = CAST(x'ff' AS TEXT)",
        "actor_kind = CAST(x'edb080' AS TEXT)",
        "at = CAST(x'ff' AS TEXT)",
        "at = x'ff'",
        "at = 9e999",
        "detail = x'7b7d'",
        "detail = CAST(x'7bff7d' AS TEXT)",
        "address = NULL",
        "address_salt = NULL",
        "address_salt = detail_salt",
        "address = NULL, address_salt = NULL, address_digest = NULL",
        "address_digest = detail_digest",
        "detail = ''",
        "detail_salt = NULL",
        "detail_salt = upper(detail_salt) || '0'",
        "detail_salt = NULL, detail_digest = NULL",
        "(address_salt, detail_salt) = (detail_salt, address_salt)",
        "(address, address_salt, address_digest) = "
        "(SELECT '192.0.2.2', address_salt, address_digest FROM audit WHERE number = 2)",
        "(detail, detail_salt, detail_digest) = "
        "(SELECT detail, detail_salt, detail_digest FROM audit WHERE number = 2)",
        "mac = CAST(x'ff' AS TEXT)",
        "mac = ''",
        "mac = x'00'",
        "mac = upper(mac)",
        "mac = '" + "0" * 64 + "'",
    ],
)
@pytest.mark.parametrize("number", [1, 5, ROWS])
def test_a_changed_row_is_detected(audit_box: AuditBox, change: str, number: int) -> None:
    audit_box.edit(f"UPDATE audit SET {change} WHERE number = {number}")
    found = audit_box.found()
    assert ("altered", number, number) in found
    # The last row's MAC is also in the head.
    others = [one for one in found if one != ("altered", number, number)]
    assert others == ([("head", ROWS, ROWS)] if number == ROWS and "mac" in change else [])


@pytest.mark.parametrize(("first", "last"), [(1, 1), (5, 5), (3, 7)])
def test_a_removed_row_is_detected(audit_box: AuditBox, first: int, last: int) -> None:
    audit_box.edit(f"DELETE FROM audit WHERE number BETWEEN {first} AND {last}")
    assert audit_box.found() == [("missing", first, last)]


def test_a_removed_row_is_detected_after_renumbering(audit_box: AuditBox) -> None:
    audit_box.edit(
        "DELETE FROM audit WHERE number = 5",
        *(
            f"UPDATE audit SET number = {number - 1} WHERE number = {number}"
            for number in (6, 7, 8, 9)
        ),
    )
    assert audit_box.found() == [("altered", 5, 8), ("cut off", 9, 9)]


def test_reordered_rows_are_detected(audit_box: AuditBox) -> None:
    audit_box.edit(
        "UPDATE audit SET number = 100 WHERE number = 4",
        "UPDATE audit SET number = 4 WHERE number = 7",
        "UPDATE audit SET number = 7 WHERE number = 100",
    )
    found = {number for _, first, last in audit_box.found() for number in range(first, last + 1)}
    assert {4, 7} <= found


@pytest.mark.parametrize("columns", ["subject, detail", "at, action, subject, detail, mac"])
def test_exchanged_contents_are_detected(audit_box: AuditBox, columns: str) -> None:
    names = columns.split(", ")
    audit_box.edit("CREATE TABLE former AS SELECT * FROM audit")
    for one, other in ((4, 5), (5, 4)):
        sets = ", ".join(
            f"{name} = (SELECT {name} FROM former WHERE number = {other})" for name in names
        )
        audit_box.edit(f"UPDATE audit SET {sets} WHERE number = {one}")
    found = {number for _, first, last in audit_box.found() for number in range(first, last + 1)}
    assert {4, 5} <= found


@pytest.mark.parametrize("number", [0, -3])
def test_a_row_before_the_first_is_detected(audit_box: AuditBox, number: int) -> None:
    audit_box.edit(f"{INSERT} SELECT {number}, {COLUMNS}, mac FROM audit WHERE number = 1")
    assert audit_box.found() == [("inserted", number, number)]


@pytest.mark.parametrize("mac", ["mac", "'" + "ab" * 32 + "'"])
def test_a_row_inserted_at_the_end_is_detected(audit_box: AuditBox, mac: str) -> None:
    audit_box.edit(f"{INSERT} SELECT 10, {COLUMNS}, {mac} FROM audit WHERE number = 9")
    assert audit_box.found() == [("altered", 10, 10)]


def test_a_row_inserted_between_others_is_detected(audit_box: AuditBox) -> None:
    for number in range(ROWS, 4, -1):
        audit_box.edit(f"UPDATE audit SET number = {number + 1} WHERE number = {number}")
    audit_box.edit(f"{INSERT} SELECT 5, {COLUMNS}, mac FROM audit WHERE number = 4")
    assert ("altered", 5, 10) in audit_box.found()


@pytest.mark.parametrize("put", [2**63 - 1, 2**63 - 2])
def test_a_row_with_the_largest_number_does_not_stop_changes(audit_box: AuditBox, put: int) -> None:
    audit_box.edit(f"{INSERT} SELECT {put}, {COLUMNS}, mac FROM audit WHERE number = 9")
    for number in range(3):
        audit_box.record(f"after {number}")
    assert ("missing", ROWS + 1 + (3 if put == 2**63 - 1 else 2), put - 1) in audit_box.found()


@pytest.mark.parametrize("kept", [0, 1, 8])
def test_a_cut_off_end_is_detected(audit_box: AuditBox, kept: int) -> None:
    audit_box.edit(f"DELETE FROM audit WHERE number > {kept}")
    assert audit_box.found() == [("cut off", kept + 1, ROWS)]


@pytest.mark.parametrize("more", [1, 3, 6])
def test_a_cut_off_end_is_still_detected_after_further_rows(
    audit_box: AuditBox, more: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows that are added later do not hide it: the head stays unchanged."""
    audit_box.edit("DELETE FROM audit WHERE number > 6")
    with caplog.at_level(logging.ERROR, "latchkey"):
        for number in range(more):
            audit_box.record(f"after {number}")
    assert len(caplog.records) == more
    assert "row 9 of the log is missing or differs from the head file" in caplog.text
    assert audit_box.seal.head.read().number == ROWS
    assert audit_box.found() == [("cut off", 6 + more + 1, 9)] if more < 3 else [("head", 9, 9)]


def test_a_log_of_another_key_is_detected(audit_box: AuditBox) -> None:
    other = AuditKey(b"other key".ljust(32))
    found = verify(other, audit_box.store.audit.entries(), audit_box.store.audit.last())
    assert [(one.problem, one.first, one.last) for one in found.findings] == [("altered", 1, ROWS)]
