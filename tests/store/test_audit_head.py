"""The head of the audit log outside of the database: it shows a cut-off end, and only advances."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from latchkey.credentials.audit import NO_MAC, Action, AuditEvent, AuditKey, Head
from latchkey.store.audit_head import HeadFile
from latchkey.store.database_urls import database_at
from tests.support.audited import TESTER, new_seal, record, result_of
from tests.support.store.audit_box import ROWS, AuditBox
from tests.support.store.new_credentials import NOW


def test_a_crash_before_the_head_was_written_leaves_a_log_that_verifies(
    audit_box: AuditBox,
) -> None:
    result_of(audit_box.store.audit.record(AuditEvent(NOW, Action.ADMIN_SIGN_IN, TESTER)))
    assert audit_box.seal.head.read().number == ROWS
    assert audit_box.found() == []
    audit_box.record("the next one")
    assert audit_box.seal.head.read() == audit_box.store.audit.last()
    assert audit_box.found() == []


def _remove(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _lower(path: Path) -> None:
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "number": 3}))


def _other_key(path: Path) -> None:
    HeadFile(path, AuditKey(bytes(32))).replace(Head(ROWS, NO_MAC))


def _other_types(path: Path) -> None:
    path.write_text(json.dumps({"number": "9", "mac": 3, "seal": None}))


@pytest.mark.parametrize("harm", [_remove, _empty, _lower, _other_key, _other_types])
def test_a_missing_or_forged_head_is_detected_permanently(
    audit_box: AuditBox, harm: Callable[[Path], None]
) -> None:
    harm(audit_box.seal.head.path)
    was = audit_box.seal.head.path.read_bytes() if audit_box.seal.head.path.exists() else None
    for _ in range(2):
        assert [problem for problem, _, _ in audit_box.found()] == ["head"]
        audit_box.record("goes on")
    assert (audit_box.seal.head.path.read_bytes() if was is not None else None) == was
    assert audit_box.seal.head.path.exists() is (was is not None)


def test_the_head_never_goes_backwards(audit_box: AuditBox) -> None:
    heads = [Head(row.number, row.mac) for row in audit_box.store.audit.entries()]
    threads = [
        threading.Thread(target=audit_box.seal.head.advance, args=(head, lambda _: True))
        for head in heads[::-1]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert audit_box.seal.head.read() == heads[-1]


def test_the_head_is_private_and_complete(audit_box: AuditBox) -> None:
    head = audit_box.seal.head.path
    assert head.stat().st_mode & 0o777 == 0o600
    names = {path.name for path in head.parent.iterdir()}
    assert {name for name in names if "head" in name} == {"audit.head", "audit.head.lock"}


def test_a_change_stays_committed_if_the_head_cannot_be_written(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seal = new_seal(database)
    seal.head.path.unlink()
    os.mkdir(seal.head.path)
    with closing(database_at(f"sqlite:///{database}").open_store(seal=seal)) as store:
        with caplog.at_level(logging.ERROR, "latchkey"):
            record(store, AuditEvent(NOW, Action.ADMIN_CREATE, TESTER, "ann"))
        assert store.audit.last().number == 1
    assert "the head file of the audit log was not written" in caplog.text
