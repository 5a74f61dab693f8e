"""Commands that change keys reach the running service, or change nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from fastcache.shared import Segment
from latchkey.box.segment import ServiceSegment, attached, changing_keys, segment_path
from latchkey.box.shared import SharedState
from latchkey.config import Settings
from latchkey.errors import ServiceUnreachable
from tests.support.segment_holders import CHANGE, SERVE, files, other, settings_for


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings for a new database, with a separate directory for shared memory."""
    return settings_for(tmp_path)


def test_a_command_reaches_the_service(settings: Settings) -> None:
    with other(SERVE, settings) as serving:
        uuid = serving.says()
        with other(CHANGE, settings) as command:
            assert command.says() == uuid
            command.end()


def test_no_service_starts_while_a_command_changes_keys(settings: Settings) -> None:
    with other(CHANGE, settings) as command:
        assert command.says() == "alone"
        with other(SERVE, settings) as serving:
            with pytest.raises(subprocess.TimeoutExpired):
                serving.process.wait(1)
            assert files(settings) == []
            command.end()
            assert len(serving.says()) == 32


def test_a_killed_command_blocks_nobody(settings: Settings) -> None:
    with other(CHANGE, settings) as command:
        assert command.says() == "alone"
        command.kill()
    opened = ServiceSegment.open(settings)
    opened.close()


def test_a_command_waits_for_another(settings: Settings) -> None:
    with other(CHANGE, settings) as first:
        assert first.says() == "alone"
        with other(CHANGE, settings) as second:
            time.sleep(0.5)
            first.end()
            assert second.says() == "alone"
            second.end()


def test_an_unreachable_service_stops_the_command(settings: Settings) -> None:
    """As from another container: the lock exists, but not the memory."""
    with other(SERVE, settings) as serving:
        serving.says()
        segment_path(settings).unlink()
        began = time.monotonic()
        with pytest.raises(ServiceUnreachable) as raised:
            with changing_keys(settings):
                raise AssertionError("not to be had")
        assert time.monotonic() - began >= 2
    message = str(raised.value)
    assert message.startswith("nothing was changed: a service uses this database")
    assert str(segment_path(settings)) in message
    assert "\n" not in message


def test_another_segment_with_the_name_is_not_used(settings: Settings) -> None:
    with other(SERVE, settings) as serving:
        serving.says()
        path = segment_path(settings)
        path.unlink()
        impostor = Segment.create(
            path,
            SharedState.regions(8 << 20),
            identity=b"latchkey:1:" + b"0" * 32,
            prepare=SharedState.prepare,
        )
        with pytest.raises(ServiceUnreachable):
            with changing_keys(settings):
                raise AssertionError("not to be had")
        impostor.close()


def test_a_command_waits_for_a_starting_service(settings: Settings) -> None:
    """The service has the lock, but has not recorded its memory yet."""
    with other(SERVE, settings) as serving:
        uuid = serving.says()
        record = Path(f"{settings.database_url.removeprefix('sqlite:///')}-service")
        said = record.read_text()
        assert json.loads(said)["uuid"] == uuid
        record.write_text("")
        with other(CHANGE, settings) as command:
            time.sleep(0.5)
            record.write_text(said)
            assert command.says() == uuid


def test_the_lock_outlives_the_master(settings: Settings) -> None:
    """Workers whose master was killed still serve for a moment, and count as a service."""
    code = SERVE.replace(
        "sys.stdin.readline()",
        "import os, time\nif os.fork():\n    os._exit(0)\ntime.sleep(60)",
    )
    with other(code, settings) as master:
        uuid = master.says()
        master.process.wait(60)
        with changing_keys(settings) as shared:
            assert shared.segment is not None
            assert shared.segment.uuid == uuid
        found = subprocess.run(
            ["fuser", segment_path(settings)], capture_output=True, text=True, check=False
        )
        for pid in found.stdout.split():
            if int(pid) != os.getpid():
                os.kill(int(pid), signal.SIGKILL)


def test_reading_without_a_service(settings: Settings) -> None:
    with pytest.raises(ServiceUnreachable):
        with attached(settings):
            raise AssertionError("there is nothing")
    assert not Path(f"{settings.database_url.removeprefix('sqlite:///')}-service").exists()
