"""Logs of version 0.2 are re-chained once; earlier findings are kept, also after a crash."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from latchkey.credentials.audit import Action, AuditEvent, AuditKey, AuditRow, Head
from latchkey.credentials.audit_check import Verification
from latchkey.credentials.publishing import Publisher
from latchkey.store.audit_head import HeadFile, Seal
from latchkey.store.credentials import SqlStore
from latchkey.store.database_urls import database_at
from latchkey_service.cli.audit import accept
from tests.support.audited import TESTER, record, result_of
from tests.support.store.former_log import former_rows, write_former_head, write_former_log
from tests.support.store.new_credentials import NOW

ROOT = Path(__file__).parents[2]
ROWS = 9


class FormerBox:
    """A database with a log of version 0.2, and stores over it."""

    def __init__(self, path: Path, rows: int = ROWS) -> None:
        self.path = path
        self.seal = write_former_log(path, rows)
        self.stores: list[SqlStore] = []

    def open(self, seal: Seal | None = None) -> SqlStore:
        store = database_at(f"sqlite:///{self.path}").open_store(seal=seal or self.seal)
        assert isinstance(store, SqlStore)
        self.stores.append(store)
        return store

    def edit(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    def rechain(self) -> int:
        store = self.open()
        return Publisher(store.audit).publish(store.audit.rechain())

    def change(self, subject: str = "x") -> None:
        record(self.open(), AuditEvent(NOW, Action.ADMIN_CREATE, TESTER, subject))

    def rows(self) -> list[AuditRow]:
        return list(self.open().audit.entries())

    def verify(self) -> Verification:
        return self.open().audit.verify()

    def found(self) -> list[tuple[str, int, int]]:
        return [(one.problem, one.first, one.last) for one in self.verify().findings]

    def accept(self) -> None:
        accept(self.open().audit, self.seal.head.read())

    def close(self) -> None:
        for store in self.stores:
            store.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[FormerBox]:
    made = FormerBox(tmp_path / "latchkey.db")
    yield made
    made.close()


def values(row: AuditRow) -> AuditRow:
    """The row without what a re-chaining adds and replaces."""
    return replace(
        row, mac="", address_salt=None, address_digest=None, detail_salt=None, detail_digest=None
    )


def test_a_former_log_verifies_before_it_is_rechained(box: FormerBox) -> None:
    assert box.found() == []
    box.edit("UPDATE audit SET address = '192.0.2.9' WHERE number = 4")
    assert box.found() == [("altered", 4, 4)]


def test_the_first_change_rechains_the_log(box: FormerBox) -> None:
    before = box.rows()
    box.change()
    rows = box.rows()
    assert [values(row) for row in rows[:ROWS]] == [values(row) for row in before]
    assert not any(row.is_former for row in rows)
    assert len({row.detail_salt for row in rows} | {row.address_salt for row in rows}) > ROWS
    assert [row.action for row in rows[ROWS:]] == ["audit.rechain", "admin.create"]
    last = before[-1].mac
    assert json.loads(rows[ROWS].detail) == {
        "rows": ROWS,
        "mac": last,
        "head": {"number": ROWS, "mac": last},
    }
    head = box.seal.head.read()
    assert (head, head.is_former) == (Head(ROWS + 2, rows[-1].mac), False)
    found = box.verify()
    assert found.findings == []
    assert [(one.rows, one.reasons) for one in found.rechainings] == [(ROWS, [])]


def test_a_log_is_rechained_once(box: FormerBox) -> None:
    assert [box.rechain(), box.rechain()] == [ROWS, 0]
    assert len(box.rows()) == ROWS + 1
    assert box.found() == []


def test_an_empty_former_log_needs_nothing(tmp_path: Path) -> None:
    box = FormerBox(tmp_path / "latchkey.db", 0)
    assert box.rechain() == 0
    assert not box.seal.head.read().is_former
    box.change()
    assert box.found() == []
    box.close()


# ---- What was found before


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE audit SET address = '192.0.2.9' WHERE number = 4", "row 4: does not match"),
        ("UPDATE audit SET detail = x'00' WHERE number = 4", "row 4: does not match"),
        ("DELETE FROM audit WHERE number = 4", "row 4: removed"),
        ("DELETE FROM audit WHERE number > 7", "rows 8 to 9: removed from the end"),
    ],
)
def test_findings_are_kept_until_they_are_accepted(
    box: FormerBox, statement: str, reason: str
) -> None:
    box.edit(statement)
    box.rechain()
    (made,) = box.verify().rechainings
    assert made.reasons[0].startswith(reason)
    assert ("rechained", 1, made.rows) in box.found()
    box.change()
    assert ("rechained", 1, made.rows) in box.found()
    assert (
        reason in next(one for one in box.verify().findings if one.problem == "rechained").message
    )
    box.accept()
    # A gap in the numbers is still there.
    assert box.found() == ([("missing", 4, 4)] if reason == "row 4: removed" else [])
    assert box.verify().explained == box.verify().rechainings
    assert box.verify().rechainings[0].accepted


def test_another_acceptance_does_not_accept_the_findings(box: FormerBox) -> None:
    box.edit("UPDATE audit SET actor = 'bob' WHERE number = 4")
    box.rechain()
    record(box.open(), AuditEvent(NOW, Action.AUDIT_ACCEPT, TESTER, detail={"head": 3}))
    assert box.found() == [("rechained", 1, ROWS)]


# ---- Nobody without the key can have a log re-chained again


def test_rows_that_lose_their_digests_later_are_altered(box: FormerBox) -> None:
    box.rechain()
    blank = ", ".join(
        f"{name} = NULL"
        for name in ("address_salt", "address_digest", "detail_salt", "detail_digest")
    )
    box.edit(f"UPDATE audit SET {blank}")
    assert box.rechain() == 0
    box.change()
    assert box.found()[0] == ("altered", 1, ROWS + 1)


def test_the_former_rows_cannot_be_put_back(box: FormerBox) -> None:
    """Their own MACs were genuine once."""
    box.rechain()
    for row in former_rows(ROWS):
        box.edit(
            f"UPDATE audit SET mac = '{row.mac}', address_salt = NULL, address_digest = NULL, "
            f"detail_salt = NULL, detail_digest = NULL WHERE number = {row.number}"
        )
    assert box.found() == [("altered", 1, ROWS + 1)]


def test_a_forged_record_explains_no_head(box: FormerBox) -> None:
    """A process died before it replaced the head; then the log was replaced."""
    result_of(box.open().audit.rechain())
    assert box.found() == []
    detail = box.rows()[ROWS].detail
    box.edit("UPDATE audit SET action = 'key.issue' WHERE number = 10")
    assert ("head", ROWS, ROWS) in box.found()
    box.edit("UPDATE audit SET action = 'audit.rechain' WHERE number = 10")
    assert box.found() == []
    other = json.loads(detail)
    other["rows"] = 8
    box.edit(f"UPDATE audit SET detail = '{json.dumps(other)}' WHERE number = 10")
    assert ("head", ROWS, ROWS) in box.found()
    assert box.open().audit.behind_head() is not None


# ---- The head file and the key


def test_without_the_head_file_nothing_is_rechained_until_it_is_accepted(box: FormerBox) -> None:
    box.seal.head.path.unlink()
    assert box.rechain() == 0
    box.change()
    assert [row.is_former for row in box.rows()] == [True] * ROWS + [False]
    assert [one[0] for one in box.found()] == ["head"]
    accept(box.open().audit, "missing")
    assert not any(row.is_former for row in box.rows())
    assert box.found() == []
    assert [(one.rows, one.reasons) for one in box.verify().rechainings] == [(ROWS + 1, [])]


def test_with_another_key_nothing_is_rechained(box: FormerBox) -> None:
    other = AuditKey(b"o" * 32)
    store = box.open(Seal(other, HeadFile(box.seal.head.path, other)))
    assert Publisher(store.audit).publish(store.audit.rechain()) == 0
    assert box.found() == []
    assert [row.mac for row in box.rows()] == [row.mac for row in former_rows(ROWS)]


def test_a_former_head_of_an_earlier_row_is_no_fault(box: FormerBox) -> None:
    """The process that wrote the last rows died before it wrote the head."""
    write_former_head(box.seal.head.path, Head(7, former_rows(7)[-1].mac))
    box.rechain()
    assert box.found() == []
    assert box.seal.head.read().number == ROWS + 1


def test_a_store_without_the_key_reads_a_former_log(box: FormerBox) -> None:
    store = database_at(f"sqlite:///{box.path}").open_store()
    with closing(store):
        assert len(list(store.audit.entries())) == ROWS
        assert [row.json_fields["detail_digest"] for row in store.audit.entries()] == [None] * ROWS


# ---- Crashes and several processes

_RUN = """
import os, signal, sys
from pathlib import Path
from latchkey.credentials.audit import AuditEvent, Action
from latchkey.credentials.publishing import Publisher
from latchkey.store import audit, audit_head, audit_rechain, kept_head
from latchkey.store.audit_head import HeadFile, Seal
from latchkey.store.database_urls import database_at
from tests.support.audited import AUDIT_KEY, TESTER
from tests.support.store.new_credentials import NOW

def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def then_kill(function):
    def run(*args, **kwargs):
        function(*args, **kwargs)
        kill()
    return run

path, point = Path(sys.argv[1]), sys.argv[2]
if point == "first batch":
    audit_rechain._BATCH = 4
    audit_rechain.replace = lambda row, **new: kill() if row.number == 6 else row
elif point == "before the record":
    audit.rechaining_event = kill
elif point == "before the commit":
    audit.SqlAuditLog._append = then_kill(audit.SqlAuditLog._append)
elif point == "after the commit":
    audit.SqlAuditLog.keep = kill
elif point == "before the head":
    audit_head.replace_durably = kill
elif point == "after the head":
    audit_head.replace_durably = then_kill(audit_head.replace_durably)
store = database_at(f"sqlite:///{path}").open_store(
    seal=Seal(AUDIT_KEY, HeadFile(path.with_name("audit.head"), AUDIT_KEY)), write_timeout=60.0
)
publisher = Publisher(store.audit)
publisher.publish(store.audit.rechain())
publisher.publish(store.audit.record(AuditEvent(NOW, Action.ADMIN_CREATE, TESTER, "x")))
store.close()
"""


def run(box: FormerBox, point: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _RUN, str(box.path), point], cwd=ROOT)


@pytest.mark.parametrize(
    ("point", "rechained"),
    [
        ("first batch", False),
        ("before the record", False),
        ("before the commit", False),
        ("after the commit", True),
        ("before the head", True),
        ("after the head", True),
    ],
)
def test_a_killed_process_loses_nothing(box: FormerBox, point: str, rechained: bool) -> None:
    assert run(box, point).wait(120) == -signal.SIGKILL
    assert box.found() == []
    assert len(box.rows()) == ROWS + rechained
    assert box.seal.head.read().is_former is (point != "after the head")
    assert box.rechain() == (0 if rechained else ROWS)
    assert not box.seal.head.read().is_former
    box.change()
    assert box.found() == []
    assert [row.action for row in box.rows()[ROWS:]] == ["audit.rechain", "admin.create"]


def test_several_processes_rechain_once(box: FormerBox) -> None:
    children = [run(box, "") for _ in range(3)]
    assert [child.wait(120) for child in children] == [0, 0, 0]
    actions = [row.action for row in box.rows()[ROWS:]]
    assert sorted(actions) == ["admin.create"] * 3 + ["audit.rechain"]
    assert actions[0] == "audit.rechain"
    assert box.found() == []
    assert box.seal.head.read().number == ROWS + 4
