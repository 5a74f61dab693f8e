"""The life of the shared memory in real processes: creation, attaching and removal."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from latchkey.box.counter_names import Use
from latchkey.box.segment import ServiceSegment, attached, changing_keys, segment_path
from latchkey.box.service_lock import ServiceLock
from latchkey.box.shared import FOREVER, SharedState, Word
from latchkey.box.use_counts import LiveTallies
from latchkey.config import Settings
from latchkey.errors import ConfigurationError, ServiceUnreachable, StoreError
from tests.support.audited import add, open_store
from tests.support.segment_holders import SERVE, files, other, settings_for
from tests.support.store.new_credentials import new_credential


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings for a new database, with a separate directory for shared memory."""
    return settings_for(tmp_path)


def count(settings: Settings, number: int, uses: int) -> None:
    """Count uses and a refusal of a credential, like a worker.

    In a separate process, because a reference to the memory would keep it open.
    """
    with attached(settings) as shared:
        for _ in range(uses):
            shared.count_use(number)
        shared.count_refusal(number, Use.SCOPE)


# ---- Creation and removal


def test_it_is_created_private_and_removed(settings: Settings) -> None:
    opened = ServiceSegment.open(settings)
    path = segment_path(settings)
    assert files(settings) == [path.name]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_blocks * 512 > 7 << 20
    assert path.name.startswith(f"latchkey-{os.geteuid()}-")
    opened.close()
    assert files(settings) == []


def test_two_databases_do_not_share_memory(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    one = settings_for(tmp_path / "one")
    (tmp_path / "two").mkdir()
    two = settings_for(tmp_path / "two", LATCHKEY_SHARED_MEMORY=str(one.shared_memory))
    first, second = ServiceSegment.open(one), ServiceSegment.open(two)
    assert segment_path(one) != segment_path(two)
    assert len(files(one)) == 2
    mine, theirs = first.for_worker(), second.for_worker()
    before = theirs.stripes.generation("live_x")
    mine.invalidate("live_x")
    mine.invalidate_all()
    mine.count_use(1)
    assert theirs.stripes.generation("live_x") == before
    assert set(theirs.uses.row(1)) == {0}
    # The digests of a secret that both know differ in memory, too.
    assert mine.digest_for(["a"]).digest("x") != theirs.digest_for(["a"]).digest("x")
    with changing_keys(one) as shared:
        assert shared.segment is not None
        assert shared.segment.uuid == first.segment.uuid
    del mine, theirs, shared
    first.close()
    second.close()


def test_two_names_of_one_database_share_memory(tmp_path: Path, settings: Settings) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "latchkey.db")
    linked = settings.model_copy(update={"database_url": f"sqlite:///{link}"})
    with other(SERVE, settings) as serving:
        uuid = serving.says()
        with changing_keys(linked) as shared:
            assert shared.segment is not None
            assert shared.segment.uuid == uuid


def test_a_second_service_joins_and_the_last_one_removes_it(settings: Settings) -> None:
    """Like a binary upgrade: a second master starts while the first still serves."""
    with other(SERVE, settings) as first, other(SERVE, settings) as second:
        uuid = first.says()
        assert second.says() == uuid
        first.end()
        assert files(settings) == [segment_path(settings).name]
        with other(SERVE, settings) as third:
            assert third.says() == uuid
            third.end()
        second.end()
        assert files(settings) == []


def test_joining_clears_the_cache(settings: Settings) -> None:
    with other(SERVE, settings) as first:
        first.says()
        with attached(settings) as shared:
            before = shared.stripes.generation("live_x")
            joined = ServiceSegment.open(settings)
            assert shared.stripes.generation("live_x") == before + 1
            joined.close()


def test_counts_of_a_killed_service_are_persisted(settings: Settings) -> None:
    """By the next start, once; its new segment starts with empty counts."""
    store = open_store(settings.database_url)
    number = add(store, new_credential()).id
    for _ in range(2):
        with other(SERVE, settings) as killed:
            uuid = killed.says()
            count(settings, number, 7)
            killed.kill()
        opened = ServiceSegment.open(settings)
        assert opened.segment.uuid != uuid
        assert LiveTallies(SharedState.over(opened.segment)).tally(number).uses == 0
        opened.close()
    record = store.usage.record(number, uuid)
    assert sum(record.hours.values()) == 14
    assert record.refusals == {"scope": 2}
    assert record.watermark.uses == 0
    store.close()


def test_partly_persisted_counts_are_completed(settings: Settings) -> None:
    store = open_store(settings.database_url)
    number = add(store, new_credential()).id
    with other(SERVE, settings) as killed:
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


def test_a_clean_stop_persists_the_counts(settings: Settings) -> None:
    store = open_store(settings.database_url)
    number = add(store, new_credential()).id
    with other(SERVE, settings) as serving:
        uuid = serving.says()
        count(settings, number, 1)
        serving.end()
    assert sum(store.usage.record(number, uuid).hours.values()) == 1
    store.close()


def test_counts_that_cannot_be_written_stay_for_the_next_start(settings: Settings) -> None:
    store = open_store(settings.database_url)
    number = add(store, new_credential()).id
    opened = ServiceSegment.open(settings)
    count(settings, number, 1)
    database = Path(settings.database_url.removeprefix("sqlite:///"))
    store.close()
    database.rename(database.with_name("away"))
    with pytest.raises(StoreError):
        opened.close()
    assert files(settings) == [segment_path(settings).name]
    database.with_name("away").rename(database)
    ServiceSegment.open(settings).close()
    store = open_store(settings.database_url)
    assert sum(store.usage.record(number, "").hours.values()) == 1
    store.close()


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, bytes(100_000)])
def test_damaged_and_outdated_segments_are_replaced(settings: Settings, content: bytes) -> None:
    """Files of a damaged or older service are removed, and do not accumulate."""
    with other(SERVE, settings) as killed:
        killed.says()
        killed.kill()
    left = segment_path(settings)
    left.write_bytes(content)
    opened = ServiceSegment.open(settings)
    assert opened.segment.created
    assert files(settings) == [segment_path(settings).name] != [left.name]
    opened.close()
    assert files(settings) == []


def test_each_worker_has_its_own_hold(settings: Settings) -> None:
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


# ---- Without usable shared memory


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
    assert message.startswith("several workers need shared memory, which is unavailable: ")
    assert "LATCHKEY_SHARED_MEMORY" in message
    assert "or set LATCHKEY_WORKERS to 1" in message
    assert "\n" not in message


def test_one_worker_runs_without_it_and_logs_that(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, LATCHKEY_WORKERS="1")
    settings.shared_memory.rmdir()
    opened = ServiceSegment.open(settings)
    assert opened.is_private
    assert opened.warning is not None
    assert opened.warning.startswith("shared memory is unavailable, so only one worker can run: ")
    # A worker and its successor share the memory, which no other process can reach.
    opened.for_worker().count_use(3)
    assert opened.for_worker().uses.value(3, Use.USES) == 1
    # Commands that change keys, and other services, cannot reach that memory.
    with pytest.raises(ServiceUnreachable, match="its memory is private"):
        with changing_keys(settings):
            raise AssertionError("not to be had")
    opened.close()
    with changing_keys(settings) as shared:
        assert shared.segment is None


def test_a_service_that_starts_meanwhile_is_joined(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that becomes a shared one is released for a moment."""
    nowhere = settings.model_copy(update={"shared_memory": tmp_path / "nowhere", "workers": 1})
    share_after_taking = ServiceLock.share_after_taking
    with ExitStack() as stack:
        uuids = []

        def overtaken(lock: ServiceLock) -> None:
            fcntl.flock(lock._descriptor, fcntl.LOCK_UN)
            uuids.append(stack.enter_context(other(SERVE, settings)).says())
            share_after_taking(lock)

        monkeypatch.setattr(ServiceLock, "share_after_taking", overtaken)
        opened = ServiceSegment.open(nowhere)
        assert [opened.segment.uuid] == uuids
        assert not opened.is_private
        opened.close()


def test_the_words_start_at_zero_and_the_lease_never_ends(settings: Settings) -> None:
    opened = ServiceSegment.open(settings)
    words = SharedState.over(opened.segment).words
    values = {word: words.value(word) for word in Word}
    assert values == {**dict.fromkeys(Word, 0), Word.FRESH_UNTIL: FOREVER}
    opened.close()
