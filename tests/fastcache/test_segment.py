"""Segment: created completely, attached by name, and grown."""

from __future__ import annotations

import os
import re
import signal
import stat
from pathlib import Path

import pytest

from fastcache.shared import (
    Region,
    Segment,
    SegmentError,
    SegmentFull,
    SegmentMissing,
    SegmentUnusable,
    Tallies,
)
from tests.support.fastcache.children import Child, Gate, all_end_well
from tests.support.fastcache.segments import PAGE, REGIONS, words_of

pytestmark = pytest.mark.usefixtures("no_descriptor_stays_open")


def test_a_new_segment_has_zeros_in_whole_pages(path: Path) -> None:
    with Segment.create(path, REGIONS, identity=b"mine") as segment:
        assert segment.created
        assert segment.path == str(path)
        assert re.fullmatch("[0-9a-f]{32}", segment.uuid)
        assert segment.identity == b"mine"
        assert segment.regions == {"words": (PAGE, PAGE), "rows": (2 * PAGE, 64 * PAGE)}
        assert len(segment.memory("rows")) == 64 * PAGE
        assert bytes(segment.memory("words")) == bytes(PAGE)
        assert segment.backed("words") == PAGE
        assert segment.backed("rows") == 2 * PAGE
    found = path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_blocks * 512 < found.st_size


def test_the_umask_does_not_change_its_mode(path: Path) -> None:
    before = os.umask(0o777)
    try:
        Segment.create(path, REGIONS).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_attaching_maps_the_same_memory(path: Path) -> None:
    with Segment.create(path, REGIONS, identity=b"mine") as one:
        with Segment.attach(path, identity=b"mine") as other:
            assert not other.created
            assert other.uuid == one.uuid
            assert other.regions == one.regions
            words_of(one).add(1, 5)
            assert words_of(other).snapshot() == {"a": 0, "b": 5}
    with Segment.attach(path) as later:
        assert words_of(later).value(1) == 5


def test_processes_share_it(path: Path) -> None:
    with Segment.create(path, REGIONS) as segment:

        def work() -> None:
            with Segment.attach(path) as own:
                for _ in range(1000):
                    words_of(own).add(0)

        all_end_well([Child(work) for _ in range(3)])
        assert words_of(segment).value(0) == 3000


def test_prepared_before_it_has_a_name(path: Path) -> None:
    def prepare(segment: Segment) -> None:
        assert not path.exists()
        words_of(segment).add(0, 7)

    with Segment.open(path, REGIONS, prepare=prepare) as segment:
        assert words_of(segment).value(0) == 7
    # Not called again if the segment exists.
    with Segment.open(path, REGIONS, prepare=prepare) as segment:
        assert not segment.created
        assert words_of(segment).value(0) == 7


def test_nothing_is_left_if_preparing_fails(path: Path) -> None:
    def prepare(segment: Segment) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        Segment.create(path, REGIONS, prepare=prepare)
    assert list(path.parent.iterdir()) == []


def test_nothing_is_left_of_a_killed_creator(path: Path) -> None:
    def prepare(segment: Segment) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    child = Child(lambda: Segment.create(path, REGIONS, prepare=prepare))
    assert child.wait() == -signal.SIGKILL
    assert list(path.parent.iterdir()) == []


def test_without_a_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children share it, even if no directory has room for it."""
    monkeypatch.chdir(path.parent)
    with Segment.create_nameless(REGIONS, identity=b"mine") as segment:
        assert segment.created
        assert segment.path == "memory without a name"
        assert segment.identity == b"mine"

        def work() -> None:
            own = segment.reopened()
            assert own.uuid == segment.uuid
            own.grow("rows", 64 * PAGE)
            assert own.claim(7)
            words_of(own).add(0)

        all_end_well([Child(work)])
        all_end_well([Child(work)])
        assert words_of(segment).value(0) == 2
        assert segment.backed("rows") == 64 * PAGE
        assert not segment.claimed(7)
        assert not segment.remove()
        again = segment.reopened()
        again.close()
    assert list(path.parent.iterdir()) == []
    with pytest.raises(ValueError, match="identity"):
        Segment.create_nameless(REGIONS, identity=bytes(65))


def test_a_taken_name(path: Path) -> None:
    path.write_bytes(b"something else")
    with pytest.raises(SegmentError, match="already exists"):
        Segment.create(path, REGIONS)
    assert path.read_bytes() == b"something else"


def test_missing(path: Path) -> None:
    with pytest.raises(SegmentMissing, match="there is no segment"):
        Segment.attach(path)
    with pytest.raises(
        SegmentMissing, match=r"there is no directory .*: create it, or use another"
    ):
        Segment.open(path / "deeper", REGIONS)


def test_a_relative_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    with Segment.create("segment", REGIONS) as segment:
        monkeypatch.chdir("/")
        assert segment.path == str(path)
        assert segment.remove()
    assert not path.exists()


def test_wrong_arguments(path: Path) -> None:
    for regions in (
        {},
        {"": Region(1)},
        {"x" * 33: Region(1)},
        {"a\0b": Region(1)},
        {"a": Region(0)},
        {"a": Region(PAGE, PAGE - 1)},
        {str(number): Region(1) for number in range(100)},
    ):
        with pytest.raises(ValueError, match=r"region|size"):
            Segment.create(path, regions)
    with pytest.raises(ValueError, match="identity has up to 64 bytes, not 65"):
        Segment.create(path, REGIONS, identity=bytes(65))
    with Segment.create(path, REGIONS) as segment:
        with pytest.raises(KeyError):
            segment.memory("other")
        with pytest.raises(ValueError, match="a claim is a number from 0, not -1"):
            segment.claim(-1)


# ---------------------------------------------------------------- concurrent creation


@pytest.mark.parametrize("before", [None, b"no segment"])
def test_concurrent_creators_get_one_segment(path: Path, before: bytes | None, long: bool) -> None:
    for _ in range(200 if long else 10):
        if before is not None:
            path.write_bytes(before)
            path.chmod(0o600)
        read, write = os.pipe()
        gate = Gate()
        leave = Gate()

        def work(gate: Gate = gate, leave: Gate = leave, write: int = write) -> None:
            gate.wait()
            with Segment.open(path, REGIONS) as segment:
                words_of(segment).add(0)
                os.write(write, f"{segment.uuid} {segment.created}\n".encode())
                leave.wait()

        children = [Child(work) for _ in range(6)]
        gate.open()
        os.close(write)
        with os.fdopen(read) as lines:
            # They hold it until all have reported their result.
            said = [lines.readline().split() for _ in children]
        assert len({uuid for uuid, _ in said}) == 1
        assert sorted(created for _, created in said) == ["False"] * 5 + ["True"]
        leave.open()
        all_end_well(children)
        with Segment.attach(path) as segment:
            assert words_of(segment).value(0) == 6
            assert segment.remove()


# ---------------------------------------------------------------- growing


def test_a_region_grows_up_to_its_reserved_size(path: Path) -> None:
    with Segment.create(path, REGIONS) as segment, Segment.attach(path) as other:
        word = segment.backed_word("rows")
        tallies = Tallies(["uses"], 64 * PAGE // 8, memory=segment.memory("rows"), backed=word)
        assert tallies.backed_rows == 2 * PAGE // 8
        before = path.stat().st_blocks
        other.grow("rows", 5 * PAGE - 1)
        assert segment.backed("rows") == other.backed("rows") == 5 * PAGE
        assert tallies.backed_rows == 5 * PAGE // 8
        assert path.stat().st_blocks - before == 3 * PAGE // 512
        tallies.add(5 * PAGE // 8 - 1, 0)
        segment.grow("rows", 3 * PAGE)
        assert segment.backed("rows") == 5 * PAGE
        segment.grow("rows", 64 * PAGE)
        assert tallies.value(5 * PAGE // 8 - 1, 0) == 1
        with pytest.raises(
            SegmentFull, match=f"reserved {64 * PAGE} bytes, but {64 * PAGE + 1} are"
        ):
            segment.grow("rows", 64 * PAGE + 1)
        with pytest.raises(SegmentFull):
            segment.grow("words", PAGE + 1)
        del tallies, word
    with Segment.open(path, REGIONS) as later:
        assert not later.created
        assert later.backed("rows") == 64 * PAGE


def test_processes_grow_it_at_the_same_time(path: Path) -> None:
    with Segment.create(path, REGIONS) as segment:

        def work() -> None:
            with Segment.attach(path) as own:
                rows = Tallies(
                    ["uses"], 64 * PAGE // 8,
                    memory=own.memory("rows"), backed=own.backed_word("rows"),
                )  # fmt: skip
                for pages in range(1, 65):
                    own.grow("rows", pages * PAGE)
                    assert rows.add(pages * PAGE // 8 - 1, 0)

        all_end_well([Child(work) for _ in range(4)])
        words = segment.memory("rows").cast("Q")
        assert [words[pages * PAGE // 8 - 1] for pages in range(1, 65)] == [4] * 64
        words.release()


def test_other_regions_are_another_layout(path: Path) -> None:
    regions = {**REGIONS, "more": Region(1)}
    with Segment.create(path, REGIONS) as segment:
        with pytest.raises(SegmentUnusable, match=r"other regions .*it is in use, so it is not"):
            Segment.open(path, regions)
        uuid = segment.uuid
    with Segment.open(path, regions) as segment:
        assert segment.created
        assert segment.uuid != uuid
