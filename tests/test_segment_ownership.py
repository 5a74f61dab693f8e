"""Shared memory that another user prepared is never used, and cannot prevent a start."""

from __future__ import annotations

import codecs
import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcache.shared import Segment
from latchkey.box.segment import (
    ServiceSegment,
    _identity,
    _names,
    attached,
    changing_keys,
    segment_path,
)
from latchkey.box.shared import SharedState
from latchkey.config import Settings
from latchkey.errors import ConfigurationError, ServiceUnreachable
from tests.support.fastcache.children import Child, all_end_well
from tests.support.other_users import NOBODY, as_root
from tests.support.segment_holders import SERVE, files, other, settings_for


@pytest.fixture
def settings() -> Iterator[Settings]:
    """Settings for a new database, with a world-writable directory for shared memory."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        made = settings_for(directory)
        made.shared_memory.chmod(0o1777)
        yield made


def plant(settings: Settings, path: Path) -> None:
    """Let another user create a segment with the correct layout and identity at a path."""
    # Imported before: the other user may be unable to read the interpreter's files.
    codecs.lookup("ascii")

    def work() -> None:
        os.setuid(NOBODY)
        Segment.create(
            path,
            SharedState.regions(settings.shared_size << 20),
            identity=_identity(settings),
            prepare=SharedState.prepare,
        ).close()

    all_end_well([Child(work)])
    assert path.stat().st_uid == NOBODY


def digest_part(settings: Settings) -> str:
    return _names(settings).rstrip("-")


@as_root
@pytest.mark.parametrize("at", ["the former name", "a name like ours", "the recorded name"])
def test_a_service_does_not_join_a_planted_segment(settings: Settings, at: str) -> None:
    name = {"the former name": "", "a name like ours": f"-{'0' * 32}", "the recorded name": "-1"}
    path = settings.shared_memory / f"{digest_part(settings)}{name[at]}"
    plant(settings, path)
    if at == "the recorded name":
        database = Path(settings.database_url.removeprefix("sqlite:///"))
        record = database.with_name(f"{database.name}-service")
        record.touch(mode=0o600)
        record.write_text(json.dumps({"segment": str(path), "uuid": ""}))
    opened = ServiceSegment.open(settings)
    assert opened.segment.created
    assert Path(opened.segment.path) != path
    assert Path(opened.segment.path).stat().st_uid == 0
    opened.close()
    assert files(settings) == [path.name]


@as_root
def test_a_service_refuses_to_join_a_running_one_of_another_user(settings: Settings) -> None:
    """The lock is held, and its record names a segment of another user."""
    with other(SERVE, settings) as serving:
        serving.says()
        os.chown(segment_path(settings), NOBODY, NOBODY)
        with other(SERVE, settings) as second:
            assert second.process.wait(60) != 0
            said = second.errors()
    assert "its memory cannot be shared" in said
    assert "belongs to user 65534, not to 0" in said


@as_root
@pytest.mark.parametrize("way", [attached, changing_keys])
def test_a_command_of_root_uses_the_memory_of_the_databases_owner_only(
    settings: Settings, way: type
) -> None:
    with other(SERVE, settings) as serving:
        uuid = serving.says()
        os.chown(segment_path(settings), NOBODY, NOBODY)
        with pytest.raises(ServiceUnreachable, match="belongs to user 65534, not to 0"):
            with way(settings):
                raise AssertionError("not to be had")
        os.chown(settings.database_url.removeprefix("sqlite:///"), NOBODY, NOBODY)
        with way(settings) as shared:
            assert shared.segment.uuid == uuid
        os.chown(settings.database_url.removeprefix("sqlite:///"), 0, 0)
        os.chown(segment_path(settings), 0, 0)


@as_root
def test_root_does_not_serve_another_users_database(settings: Settings) -> None:
    os.chown(settings.database_url.removeprefix("sqlite:///"), NOBODY, NOBODY)
    with pytest.raises(ConfigurationError, match="run the service as nobody") as raised:
        ServiceSegment.open(settings)
    assert "\n" not in str(raised.value)
    assert files(settings) == []


def test_the_name_differs_at_each_start(settings: Settings) -> None:
    names = set()
    for _ in range(3):
        opened = ServiceSegment.open(settings)
        names.add(segment_path(settings).name)
        opened.close()
    assert len(names) == 3
    assert all(len(name.rpartition("-")[2]) == 32 for name in names)


@pytest.mark.parametrize("lost", ["nothing", "the record", "the lock file"])
def test_killed_services_leave_one_segment_at_most(settings: Settings, lost: str) -> None:
    """Also if the record of the last segment is missing."""
    database = Path(settings.database_url.removeprefix("sqlite:///"))
    for _ in range(3):
        with other(SERVE, settings) as killed:
            killed.says()
            killed.kill()
        assert files(settings) == [segment_path(settings).name]
        if lost == "the record":
            database.with_name(f"{database.name}-service").write_text("")
        if lost == "the lock file":
            database.with_name(f"{database.name}-service").unlink()
    ServiceSegment.open(settings).close()
    assert files(settings) == []


# Killed after the segment has its name, but before the lock file has its number.
_KILLED_WHILE_MAKING = (
    """
import os
from fastcache.shared import Segment
create = Segment.create
def killed(*arguments, **options):
    create(*arguments, **options)
    os._exit(9)
Segment.create = killed
"""
    + SERVE
)


def test_a_start_that_was_killed_during_creation_leaves_none(settings: Settings) -> None:
    with other(_KILLED_WHILE_MAKING, settings) as killed:
        assert killed.process.wait(60) == 9
    assert files(settings) == [segment_path(settings).name]
    with pytest.raises(ServiceUnreachable):
        with attached(settings):
            raise AssertionError("it was never in use")
    ServiceSegment.open(settings).close()
    assert files(settings) == []


def test_a_leftover_segment_that_a_command_holds_is_reused(settings: Settings) -> None:
    """The invalidations of that command reach the next service."""
    with other(SERVE, settings) as killed:
        uuid = killed.says()
        with attached(settings) as shared:
            killed.kill()
            opened = ServiceSegment.open(settings)
            assert opened.segment.uuid == uuid
            before = SharedState.over(opened.segment).stripes.generation("live_x")
            shared.invalidate("live_x")
            assert SharedState.over(opened.segment).stripes.generation("live_x") == before + 1
        del shared
        opened.close()
    assert files(settings) == []


@pytest.mark.parametrize("killed", [False, True])
def test_two_services_that_stop_at_once_leave_nothing(settings: Settings, killed: bool) -> None:
    with other(SERVE, settings) as first, other(SERVE, settings) as second:
        assert first.says() == second.says()
        if killed:
            first.process.send_signal(signal.SIGKILL)
            # Until the process has exited, the kernel has not released its lock.
            first.process.wait(60)
        else:
            first.let_go()
        second.let_go()
        first.process.wait(60)
        assert second.process.wait(60) == 0
    assert files(settings) == []


def test_a_service_killed_while_the_other_stops_leaves_its_memory_to_the_next_start(
    settings: Settings,
) -> None:
    """The stopping service still finds a holder; the killed one removes nothing."""
    with other(SERVE, settings) as first, other(SERVE, settings) as second:
        assert first.says() == second.says()
        first.process.send_signal(signal.SIGSTOP)
        second.let_go()
        assert second.process.wait(60) == 0
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(60)
    (left,) = files(settings)
    opened = ServiceSegment.open(settings)
    assert files(settings) == [segment_path(settings).name]
    assert files(settings) != [left]
    opened.close()
    assert files(settings) == []
