"""The row of a service in the table of boxes, from its start to its end."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from latchkey.box.service_lock import SegmentRecord, ServiceLock
from tests.support.faults.service_processes import kill_all, wait_until
from tests.support.postgresql import Postgresql
from tests.support.service import Service


def boxes(postgresql: Postgresql, url: str, condition: str) -> set[str]:
    """The ids of the boxes for which a condition holds."""
    database = url.rpartition("/")[2]
    found = postgresql.execute(f"SELECT id FROM box WHERE {condition}", database=database)
    return {row[0] for row in found}


def test_a_service_registers_and_says_when_it_has_stopped(
    tmp_path: Path, postgresql: Postgresql, postgresql_url: str
) -> None:
    def found(condition: str) -> set[str]:
        return boxes(postgresql, postgresql_url, condition)

    service = Service(tmp_path, LATCHKEY_DATABASE_URL=postgresql_url, LATCHKEY_WORKERS="2")
    with service:
        pair = service.create_key()
        assert service.get("/v1/account", pair.bearer).status == 200
        (first,) = found("live")
        answer = service.request("DELETE", f"/credentials/{pair.api_key}", headers=pair.headers)
        assert answer.status == 200
        assert service.get("/v1/account", pair.bearer).status == 401
        # A killed service says nothing; the next start finds its memory, and says it.
        kill_all(service)
    assert found("live") == {first}
    with service:
        wait_until(lambda: len(found("live")) == 1, "the registration")
        (second,) = found("live")
        assert second != first
        assert first in found("stopped_at IS NOT NULL")
    assert found("live OR stopped_at IS NULL") == set()


def test_a_box_with_other_derivation_keys_does_not_start(
    tmp_path: Path, postgresql_url: str
) -> None:
    first, second = (
        Service(tmp_path / name, LATCHKEY_DATABASE_URL=postgresql_url) for name in ("one", "two")
    )
    with first:
        shutil.copytree(first.directory / "secrets", second.directory / "secrets")
        key = second.directory / "secrets" / "derivation.key"
        key.write_text("7" * 64)
        refused = second.command("serve", check=False)
        assert refused.returncode != 0
        assert "other derivation keys" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["this machine", "another machine"])
def test_a_box_may_begin_with_copies_of_the_files_of_one_that_runs(
    tmp_path: Path, postgresql: Postgresql, postgresql_url: str, is_elsewhere: bool
) -> None:
    """The copy of the lock file names the memory of the running box, which is not its own."""

    def watermarks() -> list[tuple[str]]:
        query = "SELECT DISTINCT segment FROM usage_watermark"
        return postgresql.execute(query, database=postgresql_url.rpartition("/")[2])

    first, second = (
        Service(
            tmp_path / name,
            LATCHKEY_DATABASE_URL=postgresql_url,
            LATCHKEY_WORKERS="1",
            LATCHKEY_BOX_NAME=name,
            LATCHKEY_SHARED_MEMORY=str(tmp_path / name / "memory"),
        )
        for name in ("one", "two")
    )
    for service in (first, second):
        (service.directory / "memory").mkdir(parents=True, mode=0o700)
    with first:
        pair = first.issue()
        assert first.get("/v1/account", pair.bearer).status == 200
        wait_until(lambda: len(watermarks()) == 1, "the uses in the database")
        ((segment,),) = watermarks()
        shutil.copytree(first.directory / "secrets", second.directory / "secrets")
        if is_elsewhere:
            # As on a clone of the machine, where the file has the same number.
            with closing(
                ServiceLock(second.directory / "secrets" / "audit.head-service", create=False)
            ) as lock:
                lock.write(SegmentRecord(str(tmp_path / "missing"), segment))
        # There is no file of a database to look for.
        second.database.parent.mkdir()
        second.database.touch()
        with second:
            wait_until(
                lambda: len(boxes(postgresql, postgresql_url, "live AND segment IS NOT NULL")) == 2,
                "both boxes to register",
            )
            assert (segment,) in watermarks()
        assert first.get("/v1/account", pair.bearer).status == 200


def test_a_missing_directory_of_the_head_is_created(tmp_path: Path, postgresql_url: str) -> None:
    """As with SQLite: the service starts, and warns about the missing head."""
    service = Service(tmp_path, LATCHKEY_DATABASE_URL=postgresql_url)
    service.initialize()
    head = tmp_path / "not" / "yet" / "audit.head"
    service.settings["LATCHKEY_AUDIT_HEAD_FILE"] = str(head)
    with service:
        assert service.get("/health").status == 200
    assert f"the head file {head} is missing" in service.log_path.read_text()
    assert {
        directory.stat().st_mode & 0o777 for directory in (head.parent, head.parent.parent)
    } == {0o700}
