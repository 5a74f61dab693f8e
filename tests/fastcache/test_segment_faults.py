"""Segments that are damaged, foreign, forbidden or too large: refused, or replaced."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcache.shared import (
    Region,
    Segment,
    SegmentError,
    SegmentForbidden,
    SegmentFull,
    SegmentUnusable,
)
from fastcache.shared.segment_layout import Header, bound_word, laid_out
from tests.support.fastcache.children import Child, all_end_well
from tests.support.fastcache.segments import PAGE, REGIONS
from tests.support.other_users import NOBODY, as_root

SIZE = PAGE * 66

pytestmark = [pytest.mark.attack, pytest.mark.usefixtures("no_descriptor_stays_open")]


def made(path: Path) -> str:
    """Create a segment without holders; returns its uuid."""
    with Segment.create(path, REGIONS, identity=b"mine") as segment:
        return segment.uuid


def ways_to(path: Path) -> list[Callable[[], Segment]]:
    return [lambda: Segment.attach(path), lambda: Segment.open(path, REGIONS)]


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def refused_then_replaced(path: Path, match: str) -> None:
    """Attaching reports the reason; opening replaces the segment, because it is not held."""
    with pytest.raises(SegmentUnusable, match=match):
        Segment.attach(path)
    with Segment.open(path, REGIONS) as segment:
        assert segment.created
        assert bytes(segment.memory("words")) == bytes(PAGE)
    with Segment.open(path, REGIONS) as again:
        assert not again.created
        assert again.uuid == segment.uuid


@pytest.mark.parametrize("length", [0, 1, 100, PAGE - 1, PAGE, PAGE + 1, SIZE - PAGE, SIZE - 1])
def test_truncated(path: Path, length: int) -> None:
    made(path)
    os.truncate(path, length)
    refused_then_replaced(path, "is truncated")


@pytest.mark.parametrize("length", [PAGE, PAGE * 2, PAGE * 3])
def test_truncated_and_extended_again(path: Path, length: int) -> None:
    """Its length is right, but accessing the memory could fail."""
    made(path)
    os.truncate(path, length)
    os.truncate(path, SIZE)
    refused_then_replaced(path, "is truncated")


@settings(max_examples=60)
@given(at=st.integers(0, 2047), byte=st.integers(1, 255))
def test_any_damaged_byte_of_the_header(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.unlink(missing_ok=True)
    made(path)
    data = path.read_bytes()[at]
    overwrite(path, at, bytes([data ^ byte]))
    refused_then_replaced(path, "is not a segment|has layout|is damaged")


@pytest.mark.parametrize(
    "word", [0, 2 * PAGE, bound_word(PAGE), bound_word(65 * PAGE), (1 << 64) - 1]
)
def test_damaged_size_of_a_region(path: Path, word: int) -> None:
    made(path)
    overwrite(path, 2048 + 8, word.to_bytes(8, sys.byteorder))
    refused_then_replaced(path, "is damaged: region rows has a wrong size")


@pytest.mark.parametrize("content", [b"", b"hello\n", os.urandom(SIZE)])
def test_another_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    refused_then_replaced(path, "is truncated|is not a segment")


def test_a_bound_that_is_damaged_while_in_use(path: Path) -> None:
    """Each process uses its last known value, and the next reader restores the word."""
    with Segment.create(path, REGIONS) as segment, Segment.attach(path) as other:
        segment.grow("rows", 5 * PAGE)
        assert other.backed("rows") == 5 * PAGE
        for content in (bytes(8), b"\xff" * 8, bound_word(65 * PAGE).to_bytes(8, sys.byteorder)):
            overwrite(path, 2048 + 8, content)
            assert other.backed("rows") == 5 * PAGE
            assert path.read_bytes()[2056:2064] == bound_word(5 * PAGE).to_bytes(8, sys.byteorder)
        overwrite(path, 2048 + 8, b"\x55" * 8)
        other.grow("rows", 9 * PAGE)
        assert segment.backed("rows") == 9 * PAGE
        Segment.attach(path).close()


def test_another_layout(path: Path) -> None:
    made(path)
    overwrite(path, 8, (1).to_bytes(4, "little"))
    refused_then_replaced(path, "has layout 1 with a header of .*, but this version needs layout 2")


def test_another_boot(path: Path) -> None:
    made(path)
    extents, total = laid_out(REGIONS)
    overwrite(path, 0, Header(os.urandom(16), os.urandom(16), b"mine", extents, total).packed())
    refused_then_replaced(path, "is of another boot of this machine")


def test_another_identity(path: Path) -> None:
    uuid = made(path)
    with pytest.raises(SegmentUnusable, match="not the segment of this identity"):
        Segment.attach(path, identity=b"other")
    with Segment.attach(path) as segment:
        assert segment.uuid == uuid
        with pytest.raises(SegmentUnusable, match=r"not the segment of this identity.* in use"):
            Segment.open(path, REGIONS, identity=b"other")
    with Segment.open(path, REGIONS, identity=b"other") as segment:
        assert segment.created
        assert segment.identity == b"other"


def test_damaged_while_in_use_is_not_replaced(path: Path) -> None:
    with Segment.create(path, REGIONS):
        overwrite(path, 20, b"\xff")
        with pytest.raises(SegmentUnusable, match=r"is damaged: .* in use, so it is not replaced"):
            Segment.open(path, REGIONS)
        assert path.exists()
    refused_then_replaced(path, "is damaged")


@pytest.mark.parametrize("kind", ["directory", "pipe", "device"])
def test_not_a_file(path: Path, kind: str) -> None:
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    else:
        path = Path("/dev/null")
    for call in ways_to(path):
        with pytest.raises(SegmentError, match=r"is not a regular file|cannot be opened"):
            call()
    assert path.exists()


def test_a_symbolic_link_is_not_followed(path: Path) -> None:
    target = path.with_name("target")
    made(target)
    path.symlink_to(target)
    with pytest.raises(SegmentForbidden, match="is a symbolic link, which is not followed"):
        Segment.open(path, REGIONS)
    assert path.is_symlink()
    assert target.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_open_to_others(path: Path, mode: int) -> None:
    made(path)
    path.chmod(mode)
    with pytest.raises(SegmentForbidden, match=f"is open to others .mode {mode:04o}."):
        Segment.open(path, REGIONS)
    path.chmod(0o600)
    Segment.open(path, REGIONS, identity=b"mine").close()


# ---------------------------------------------------------------- other users


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may write to."""
    directory = Path("/dev/shm") / f"fastcache-test-{os.getpid()}"
    directory.mkdir()
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


@as_root
def test_another_users_segment(open_directory: Path) -> None:
    path = open_directory / "segment"
    made(path)

    def work() -> None:
        os.setuid(NOBODY)
        for call in ways_to(path):
            with pytest.raises(SegmentForbidden, match="run as the user that owns it"):
                call()

    all_end_well([Child(work)])
    # A segment of another user is not trusted, even with mode 0600.
    os.chown(path, NOBODY, -1)
    path.chmod(0o600)

    def other() -> None:
        os.setuid(NOBODY - 1)
        with pytest.raises(SegmentForbidden):
            Segment.attach(path)

    all_end_well([Child(other)])
    # Root could open it, but does so only if the caller names the owner: that user could write to a
    # segment that root trusts.
    for call in ways_to(path):
        with pytest.raises(SegmentForbidden, match="belongs to user 65534, not to 0"):
            call()
    Segment.attach(path, owner=NOBODY).close()
    with pytest.raises(SegmentForbidden):
        Segment.attach(path, owner=NOBODY - 1)


@as_root
def test_a_directory_that_is_not_writable(open_directory: Path) -> None:
    open_directory.chmod(0o755)

    def work() -> None:
        os.setuid(NOBODY)
        with pytest.raises(SegmentForbidden, match="user 65534 cannot open or create"):
            Segment.open(open_directory / "segment", REGIONS)

    all_end_well([Child(work)])


@as_root
def test_reopened_without_permission(open_directory: Path) -> None:
    """A process that changed its user after attaching."""
    with Segment.create(open_directory / "segment", REGIONS) as segment:

        def work() -> None:
            os.setuid(NOBODY)
            with pytest.raises(SegmentForbidden):
                segment.reopened()

        all_end_well([Child(work)])


# ---------------------------------------------------------------- no space


def test_a_limit_on_the_size_of_files(path: Path) -> None:
    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE - PAGE, SIZE - PAGE))
        with pytest.raises(SegmentFull, match=f"cannot have {SIZE} bytes: .*; use a smaller size"):
            Segment.create(path, REGIONS)
        with Segment.create(path, {"words": Region(PAGE)}) as segment:
            assert segment.created

    all_end_well([Child(work)])


FULL = """
import mmap, os, sys
from fastcache.shared import Region, Segment, SegmentFull, Tallies

directory = sys.argv[1]
path = directory + "/segment"

def refused(call, match):
    try:
        call()
    except SegmentFull as error:
        assert match in str(error), error
    else:
        sys.exit("there was room")

# Too large from the start: nothing of it is left.
refused(lambda: Segment.create(path, {"a": Region(2 << 20)}), "no room for 2097152 bytes")
assert os.listdir(directory) == []

# Reserved addresses are not storage: without storage, growing fails, and no access does.
with Segment.create(path, {"a": Region(1 << 16, 16 << 20)}) as segment:
    segment.grow("a", 1 << 18)
    tallies = Tallies(
        ["uses"], 1 << 21, memory=segment.memory("a"), backed=segment.backed_word("a")
    )
    refused(lambda: segment.grow("a", 4 << 20), "no room for 4194304 bytes")
    assert segment.backed("a") == 1 << 18
    # Another writer fills the rest of the file system.
    with open(directory + "/filler", "wb", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)) == 4096:
                pass
        except OSError:
            pass
    refused(lambda: segment.grow("a", 1 << 19), "make room in " + directory)
    for row in range(tallies.backed_rows):
        assert tallies.add(row, 0)
    assert not tallies.add(tallies.backed_rows, 0)
    os.unlink(directory + "/filler")
    segment.grow("a", 1 << 19)
    assert tallies.backed_rows == 1 << 16
    assert tallies.add((1 << 16) - 1, 0)
    del tallies
print("done")
"""


def test_a_full_file_system(tmp_path: Path) -> None:
    """On a tmpfs of 1 MiB in its own mount namespace."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    unshare = ["unshare", "--map-root-user", "--mount"]
    possible = subprocess.run([*unshare, "true"], capture_output=True, check=False, timeout=30)
    if possible.returncode != 0:
        pytest.skip(f"no mount namespaces: {possible.stderr.decode().strip()}")
    mount = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -W error -c "$3" "$1"'
    done = subprocess.run(
        [*unshare, "sh", "-c", mount, "sh", mounted, sys.executable, FULL],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
