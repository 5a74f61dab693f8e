"""The life of the shared memory, by real processes: who makes it, joins it, and takes it away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.auth.counts import Use
from app.auth.shared import SharedState, Word
from app.auth.tallies import LiveTallies
from app.config import Settings, load_settings
from app.errors import ConfigurationError, ServiceUnreachable
from app.segment import ServiceSegment, attached, changing_keys, segment_path
from fastcache import Segment
from tests.audited import new_trail, open_store
from tests.database import new_database
from tests.store.conftest import new_credential

ROOT = Path(__file__).parents[1]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Over a new database, with a directory of its own for memory."""
    return settings_for(tmp_path)


def settings_for(directory: Path, **more: str) -> Settings:
    memory = directory / "memory"
    memory.mkdir(exist_ok=True)
    database = directory / "latchkey.db"
    if not database.exists():
        new_database(database)
    return load_settings(
        {
            "LATCHKEY_DATABASE_URL": f"sqlite:///{database}",
            "LATCHKEY_SHARED_MEMORY": str(memory),
            "LATCHKEY_SHARED_SIZE": "8",
            **more,
        }
    )


# What another process does with the settings: hold a service's memory until it is let go.
_SERVE = """
import json, sys
from app.config import load_settings
from app.segment import ServiceSegment
opened = ServiceSegment.open(load_settings())
print(opened.segment.uuid if opened.segment else "private", flush=True)
sys.stdin.readline()
opened.close()
"""
_CHANGE = """
import sys
from app.config import load_settings
from app.segment import changing_keys
with changing_keys(load_settings()) as shared:
    print(shared.segment.uuid if shared.segment else "alone", flush=True)
    sys.stdin.readline()
"""


class Other:
    """Another process over the same database."""

    def __init__(self, code: str, settings: Settings, **more: str) -> None:
        environment = {name: value for name, value in os.environ.items() if "LATCHKEY" not in name}
        for field in ("database_url", "shared_memory", "shared_size"):
            environment[f"LATCHKEY_{field.upper()}"] = str(getattr(settings, field))
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**environment, **more},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def says(self) -> str:
        """Its next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """Let it go on to its end."""
        _, error = self.process.communicate("\n", timeout=60)
        assert self.process.returncode == 0, error

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def other(code: str, settings: Settings, **more: str) -> Iterator[Other]:
    process = Other(code, settings, **more)
    try:
        yield process
    finally:
        process.kill()


def files(settings: Settings) -> list[str]:
    return sorted(path.name for path in settings.shared_memory.iterdir())


def count(settings: Settings, number: int, uses: int) -> None:
    """Count uses and one refusal of a credential, as a worker does.

    Apart, since whoever still refers to the memory holds it.
    """
    with attached(settings) as shared:
        for _ in range(uses):
            shared.count_use(number)
        shared.count_refusal(number, Use.SCOPE)


# ---- Making and taking away


def test_it_is_made_private_and_taken_away(settings: Settings) -> None:
    opened = ServiceSegment.open(settings)
    assert opened.segment is not None
    path = segment_path(settings)
    assert files(settings) == [path.name]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_blocks * 512 > 7 << 20
    assert path.name.startswith(f"latchkey-{os.geteuid()}-")
    opened.close()
    assert files(settings) == []


def test_two_databases_never_meet(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    one = settings_for(tmp_path / "one")
    (tmp_path / "two").mkdir()
    two = settings_for(tmp_path / "two", LATCHKEY_SHARED_MEMORY=str(one.shared_memory))
    assert segment_path(one) != segment_path(two)
    first, second = ServiceSegment.open(one), ServiceSegment.open(two)
    assert first.segment is not None
    assert second.segment is not None
    assert len(files(one)) == 2
    first.close()
    second.close()


def test_two_names_of_one_database_are_one(tmp_path: Path, settings: Settings) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "latchkey.db")
    linked = settings.model_copy(update={"database_url": f"sqlite:///{link}"})
    with other(_SERVE, settings) as serving:
        uuid = serving.says()
        with changing_keys(linked) as shared:
            assert shared.segment is not None
            assert shared.segment.uuid == uuid


def test_a_second_service_joins_and_the_last_takes_it_away(settings: Settings) -> None:
    """As a binary upgrade does: a second master while the first still serves."""
    with other(_SERVE, settings) as first, other(_SERVE, settings) as second:
        uuid = first.says()
        assert second.says() == uuid
        first.end()
        assert files(settings) == [segment_path(settings).name]
        with other(_SERVE, settings) as third:
            assert third.says() == uuid
            third.end()
        second.end()
        assert files(settings) == []


def test_joining_forgets_what_was_remembered(settings: Settings) -> None:
    with other(_SERVE, settings) as first:
        first.says()
        with attached(settings) as shared:
            before = shared.stripes.generation("live_x")
            joined = ServiceSegment.open(settings)
            assert shared.stripes.generation("live_x") == before + 1
            joined.close()


def test_what_a_killed_service_counted_is_written_down(settings: Settings) -> None:
    """At the next start, once, and the next segment begins with nothing."""
    store = open_store(settings.database_url)
    number = store.add(new_credential(), new_trail()).id
    for _ in range(2):
        with other(_SERVE, settings) as killed:
            uuid = killed.says()
            count(settings, number, 7)
            killed.kill()
        opened = ServiceSegment.open(settings)
        assert opened.segment is not None
        assert opened.segment.uuid != uuid
        assert LiveTallies(SharedState.over(opened.segment)).tally(number).uses == 0
        opened.close()
    record = store.usage.record(number, uuid)
    assert sum(record.hours.values()) == 14
    assert record.refusals == {"scope": 2}
    assert record.watermark.uses == 0
    store.close()


def test_what_was_partly_written_down_is_completed(settings: Settings) -> None:
    store = open_store(settings.database_url)
    number = store.add(new_credential(), new_trail()).id
    with other(_SERVE, settings) as killed:
        uuid = killed.says()
        count(settings, number, 1)
        with attached(settings) as shared:
            store.usage.flush(uuid, LiveTallies(shared).unwritten(), new_credential().created_at)
        del shared
        count(settings, number, 1)
        killed.kill()
    ServiceSegment.open(settings).close()
    assert sum(store.usage.record(number, uuid).hours.values()) == 2
    store.close()


def test_a_clean_stop_writes_down_what_is_counted(settings: Settings) -> None:
    store = open_store(settings.database_url)
    number = store.add(new_credential(), new_trail()).id
    with other(_SERVE, settings) as serving:
        uuid = serving.says()
        count(settings, number, 1)
        serving.end()
    assert sum(store.usage.record(number, uuid).hours.values()) == 1
    store.close()


def test_counts_that_cannot_be_written_stay_for_the_next_start(settings: Settings) -> None:
    store = open_store(settings.database_url)
    number = store.add(new_credential(), new_trail()).id
    opened = ServiceSegment.open(settings)
    count(settings, number, 1)
    database = Path(settings.database_url.removeprefix("sqlite:///"))
    store.close()
    database.rename(database.with_name("away"))
    from app.errors import StoreError

    with pytest.raises(StoreError):
        opened.close()
    assert files(settings) == [segment_path(settings).name]
    database.with_name("away").rename(database)
    ServiceSegment.open(settings).close()
    store = open_store(settings.database_url)
    assert sum(store.usage.record(number, "").hours.values()) == 1
    store.close()


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, bytes(100_000)])
def test_what_is_no_segment_gives_way(settings: Settings, content: bytes) -> None:
    path = segment_path(settings)
    path.touch(mode=0o600)
    path.write_bytes(content)
    opened = ServiceSegment.open(settings)
    assert opened.segment is not None
    assert opened.segment.created
    opened.close()


def test_a_workers_hold_is_its_own(settings: Settings) -> None:
    opened = ServiceSegment.open(settings)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            shared = opened.for_worker()
            assert shared.segment is not None
            status = 0 if shared.segment.claim(3) else 2
            time.sleep(60)
        finally:
            os._exit(status)
    with attached(settings) as shared:
        assert shared.segment is not None
        deadline = time.monotonic() + 30
        while not shared.segment.claimed(3) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert shared.segment.claimed(3)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert not shared.segment.claimed(3)
    del shared
    opened.close()
    assert files(settings) == []


# ---- Where it cannot be had


@pytest.mark.parametrize("obstacle", ["missing", "a file", "unwritable"])
def test_several_workers_need_it(tmp_path: Path, obstacle: str) -> None:
    settings = settings_for(tmp_path, LATCHKEY_WORKERS="2")
    settings.shared_memory.rmdir()
    if obstacle == "a file":
        settings.shared_memory.touch()
    if obstacle == "unwritable":
        settings = settings.model_copy(update={"shared_memory": Path("/proc")})
    with pytest.raises(ConfigurationError) as raised:
        ServiceSegment.open(settings)
    message = str(raised.value)
    assert message.startswith("no shared memory, which several workers need: ")
    assert "LATCHKEY_SHARED_MEMORY" in message
    assert "LATCHKEY_WORKERS=1" in message
    assert "\n" not in message


def test_one_worker_does_without_and_says_so(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, LATCHKEY_WORKERS="1")
    settings.shared_memory.rmdir()
    opened = ServiceSegment.open(settings)
    assert opened.segment is None
    assert opened.warning is not None
    assert opened.warning.startswith("no shared memory, so one worker at most: ")
    assert opened.for_worker().segment is None
    # Whoever changes keys elsewhere, or would serve beside it, cannot reach that memory.
    with pytest.raises(ServiceUnreachable, match="it keeps its memory to itself"):
        with changing_keys(settings):
            raise AssertionError("not to be had")
    opened.close()
    with changing_keys(settings) as shared:
        assert shared.segment is None


# ---- Commands


def test_a_command_reaches_the_service(settings: Settings) -> None:
    with other(_SERVE, settings) as serving:
        uuid = serving.says()
        with other(_CHANGE, settings) as command:
            assert command.says() == uuid
            command.end()


def test_no_service_starts_while_a_command_changes_keys(settings: Settings) -> None:
    with other(_CHANGE, settings) as command:
        assert command.says() == "alone"
        with other(_SERVE, settings) as serving:
            with pytest.raises(subprocess.TimeoutExpired):
                serving.process.wait(1)
            assert files(settings) == []
            command.end()
            assert len(serving.says()) == 32


def test_a_command_that_was_killed_holds_nobody_up(settings: Settings) -> None:
    with other(_CHANGE, settings) as command:
        assert command.says() == "alone"
        command.kill()
    opened = ServiceSegment.open(settings)
    assert opened.segment is not None
    opened.close()


def test_a_command_waits_for_another(settings: Settings) -> None:
    with other(_CHANGE, settings) as first:
        assert first.says() == "alone"
        with other(_CHANGE, settings) as second:
            time.sleep(0.5)
            first.end()
            assert second.says() == "alone"
            second.end()


def test_a_service_that_cannot_be_reached_is_left_alone(settings: Settings) -> None:
    """As from another container: the lock is there, its memory is not."""
    with other(_SERVE, settings) as serving:
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


def test_another_segment_under_the_name_is_not_the_services(settings: Settings) -> None:
    with other(_SERVE, settings) as serving:
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


def test_a_service_that_is_starting_is_waited_for(settings: Settings) -> None:
    """It has the lock, and has not said yet where its memory is."""
    with other(_SERVE, settings) as serving:
        uuid = serving.says()
        record = Path(f"{settings.database_url.removeprefix('sqlite:///')}-service")
        said = record.read_text()
        assert json.loads(said)["uuid"] == uuid
        record.write_text("")
        with other(_CHANGE, settings) as command:
            time.sleep(0.5)
            record.write_text(said)
            assert command.says() == uuid


def test_the_lock_outlives_the_master(settings: Settings) -> None:
    """Workers whose master was killed still serve for a moment: that is a service too."""
    code = _SERVE.replace(
        "sys.stdin.readline()",
        "import os, time\nif os.fork():\n    os._exit(0)\ntime.sleep(60)",
    )
    with other(code, settings) as master:
        uuid = master.says()
        master.process.wait(30)
        with changing_keys(settings) as shared:
            assert shared.segment is not None
            assert shared.segment.uuid == uuid
        found = subprocess.run(
            ["fuser", segment_path(settings)], capture_output=True, text=True, check=False
        )
        for pid in found.stdout.split():
            if int(pid) != os.getpid():
                os.kill(int(pid), signal.SIGKILL)


def test_looking_without_a_service(settings: Settings) -> None:
    with pytest.raises(ServiceUnreachable):
        with attached(settings):
            raise AssertionError("there is nothing")
    assert not Path(f"{settings.database_url.removeprefix('sqlite:///')}-service").exists()


def test_the_words_begin_at_zero(settings: Settings) -> None:
    opened = ServiceSegment.open(settings)
    assert opened.segment is not None
    words = SharedState.over(opened.segment).words
    assert [words.value(word) for word in Word] == [0] * len(Word)
    opened.close()
