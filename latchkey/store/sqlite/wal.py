"""SQLite's write-ahead log and its index, read without SQLite.

The index records which frames of which log are committed. Comparing the two shows whether a file is
the log in use, and complete. The format is that of https://sqlite.org/walformat.html.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from latchkey.files.shared_places import open_beside

_COPY = 48
_INDEX = struct.Struct("=III BBH II II 8s II")
_BACKFILLED = struct.Struct("=I")
_LOG_HEADER = 32
_FRAME_HEADER = 24
_CHECKSUM = struct.Struct(">II")
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Index:
    """The index's view of the log: its last committed frame, and the log's identity.

    The first ``copied`` frames are already in the database file.
    """

    last_frame: int
    copied: int
    page_size: int
    salt: bytes
    checksum: tuple[int, int]

    @property
    def needs_log(self) -> bool:
        """Whether any committed change is only in the log."""
        return self.last_frame > self.copied


def read_index(descriptor: int) -> Index | None:
    """The index in an open ``-shm`` file; None where it is not initialised, or being written."""
    for _ in range(_TRIES):
        data = os.pread(descriptor, 2 * _COPY + _BACKFILLED.size, 0)
        if len(data) < 2 * _COPY + _BACKFILLED.size or data[:_COPY] != data[_COPY : 2 * _COPY]:
            continue
        _, _, _, initialised, _, size, last, _, one, two, salt, _, _ = _INDEX.unpack_from(data)
        if not initialised:
            return None
        (copied,) = _BACKFILLED.unpack_from(data, 2 * _COPY)
        page_size = (size & 0xFE00) + ((size & 1) << 16)
        return Index(last, copied, page_size, salt, (one, two))
    return None


def holds(log: int, index: Index) -> bool:
    """Whether an open file is the log of the index, up to its last committed frame."""
    if index.last_frame == 0:
        return True
    start = _LOG_HEADER + (index.last_frame - 1) * (_FRAME_HEADER + index.page_size)
    frame = os.pread(log, _FRAME_HEADER, start)
    return (
        os.pread(log, _LOG_HEADER, 0)[16:24] == index.salt
        and len(frame) == _FRAME_HEADER
        and frame[8:16] == index.salt
        and _CHECKSUM.unpack(frame[16:]) == index.checksum
        and os.fstat(log).st_size >= start + _FRAME_HEADER + index.page_size
    )


def is_whole(log: int, index: int) -> bool:
    """Whether the open log has all frames of the open index; the log may be restarting.

    If the index is being written, the log counts as complete.
    """
    for _ in range(_TRIES):
        said = read_index(index)
        if said is None or holds(log, said):
            return True
        if read_index(index) == said:
            return False
    return True


def reset(index: int) -> None:
    """Make SQLite read the log again: the next connection finds no valid index, and recovers."""
    os.pwrite(index, bytes(2 * _COPY), 0)


def lost_log(database: Path) -> str | None:
    """Describe what is lost if an index was left without its log; None if nothing is.

    Only for a database that this process has not open: closing the file drops all locks on it.
    """
    try:
        descriptor = open_beside(database.with_name(f"{database.name}-shm"))
    except OSError:
        return None
    try:
        index = read_index(descriptor)
    finally:
        os.close(descriptor)
    if index is None or not index.needs_log:
        return None
    try:
        if os.stat(f"{database}-wal").st_size:
            return None
    except FileNotFoundError:
        pass
    except OSError:
        return None
    return (
        f"{database.name}-wal was removed or emptied: the last changes of {database} are lost; "
        "compare with: latchkey audit verify"
    )
