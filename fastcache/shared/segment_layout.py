"""The layout of a segment: a header that describes the layout, then regions of whole pages.

The header is written once, before the segment has a name, and has a checksum. After it, in the same
page, is one 64-bit word for each region: the number of its bytes that are backed by storage. Only
these words change, and the numbers only increase.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fastcache.shared._tallies import BOUND_UNIT
from fastcache.shared.errors import SegmentUnusable
from fastcache.shared.segment_file import boot_id

MAGIC = b"fastcseg"
LAYOUT = 2

WORDS_AT = 2048
"""The position of the first region's word."""
HEADER_SIZE = max(4096, mmap.PAGESIZE)

# Native byte order: the words are read and changed in place.
WORD = struct.Struct("@Q")

_HALF = (1 << 32) - 1
# The unit in which the kernel counts the storage of a file.
_STORAGE_UNIT = 512

_CHECKSUM = struct.Struct("<I")
_CHECKSUM_AT = WORDS_AT - _CHECKSUM.size
# Magic, layout, header size, total size, uuid, boot id, length of the identity, identity, number of
# regions; then, for each region, its name, offset, size and reserved size.
_FIXED = struct.Struct("<8sIIQ16s16sI64sI")
_REGION = struct.Struct("<32sQQQ")

MAX_IDENTITY = 64
MAX_NAME = 32
MAX_REGIONS = (_CHECKSUM_AT - _FIXED.size) // _REGION.size


class Region(NamedTuple):
    """A part of a segment."""

    size: int
    """The number of bytes that are backed by storage from the start."""
    reserved: int | None = None
    """The maximum number of bytes, reserved as address space only. None: `size`."""


class Extent(NamedTuple):
    """The position of a region, in bytes from the start of the segment."""

    offset: int
    size: int
    reserved: int


@dataclass(frozen=True)
class Header:
    """The description of a segment, without the content of its regions."""

    uuid: bytes
    """16 random bytes, chosen when it was created."""
    boot: bytes
    """The boot of the machine in which it was created, in 16 bytes."""
    identity: bytes
    """The identity that was passed when it was created."""
    extents: Mapping[str, Extent]
    total: int

    def packed(self) -> bytes:
        """The bytes at the start of a segment, up to the words of its regions."""
        parts = [
            _FIXED.pack(
                MAGIC,
                LAYOUT,
                HEADER_SIZE,
                self.total,
                self.uuid,
                self.boot,
                len(self.identity),
                self.identity,
                len(self.extents),
            )
        ]
        parts += [_REGION.pack(name.encode(), *at) for name, at in self.extents.items()]
        covered = b"".join(parts).ljust(_CHECKSUM_AT, b"\0")
        return covered + _CHECKSUM.pack(zlib.crc32(covered))


def bound_word(size: int) -> int:
    """The word for a size: the number of units, and its complement in the upper half."""
    units = size // BOUND_UNIT
    return (units ^ _HALF) << 32 | units


def bound_size(word: int) -> int | None:
    """The size that a word stands for; None if the word is damaged."""
    units = word & _HALF
    return units * BOUND_UNIT if word >> 32 == units ^ _HALF else None


def laid_out(regions: Mapping[str, Region]) -> tuple[dict[str, Extent], int]:
    """The position of each region, and the total size. Raises ValueError if that is impossible."""
    if not 1 <= len(regions) <= MAX_REGIONS:
        raise ValueError(f"a segment has 1 to {MAX_REGIONS} regions, not {len(regions)}")
    extents = {}
    offset = HEADER_SIZE
    for name, (size, reserved) in regions.items():
        if not 1 <= len(name.encode()) <= MAX_NAME or "\0" in name:
            raise ValueError(f"the name of a region has 1 to {MAX_NAME} bytes: {name!r}")
        room = size if reserved is None else reserved
        if not 0 < size <= room:
            raise ValueError(f"region {name}: 0 < size <= reserved, not {size} and {room}")
        extents[name] = Extent(offset, whole_pages(size), whole_pages(room))
        offset += extents[name].reserved
    return extents, offset


def whole_pages(size: int) -> int:
    """The size of the pages that contain `size` bytes."""
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def unpacked(data: bytes, path: str) -> Header:
    """The header at the start of `data`; raises SegmentUnusable if there is none.

    Nothing in it is used before its checksum is verified.
    """
    if len(data) < HEADER_SIZE:
        raise SegmentUnusable(f"{path} is truncated: its header is incomplete; remove it")
    magic, layout, header_size, total, uuid, boot, length, identity, count = _FIXED.unpack_from(
        data
    )
    if magic != MAGIC:
        raise SegmentUnusable(f"{path} is not a segment; move it away, or use another name")
    if (layout, header_size) != (LAYOUT, HEADER_SIZE):
        raise SegmentUnusable(
            f"{path} has layout {layout} with a header of {header_size} bytes, but this version "
            f"needs layout {LAYOUT} with {HEADER_SIZE}; stop the processes using it, or remove it"
        )
    (checksum,) = _CHECKSUM.unpack_from(data, _CHECKSUM_AT)
    if checksum != zlib.crc32(data[:_CHECKSUM_AT]):
        raise SegmentUnusable(f"{path} is damaged: its checksum is wrong; remove it")
    extents = {}
    for index in range(count):
        name, *extent = _REGION.unpack_from(data, _FIXED.size + index * _REGION.size)
        extents[name.rstrip(b"\0").decode()] = Extent(*extent)
    return Header(uuid, boot, identity[:length], extents, total)


def checked(fd: int, path: str) -> Header:
    """The header of a usable segment; raises SegmentUnusable otherwise."""
    data = os.pread(fd, HEADER_SIZE, 0)
    header = unpacked(data, path)
    if header.boot != boot_id():
        raise SegmentUnusable(f"{path} is of another boot of this machine; remove it")
    found = os.fstat(fd)
    backed = HEADER_SIZE
    for index, (name, extent) in enumerate(header.extents.items()):
        (word,) = WORD.unpack_from(data, WORDS_AT + WORD.size * index)
        size = bound_size(word)
        if size is None or not extent.size <= size <= extent.reserved:
            raise SegmentUnusable(f"{path} is damaged: region {name} has a wrong size; remove it")
        backed += size
    # The file may have been truncated, and extended again without storage.
    if found.st_size < header.total or found.st_blocks * _STORAGE_UNIT < backed:
        raise SegmentUnusable(
            f"{path} is truncated: {header.total} bytes, {backed} of them backed, are expected; "
            "remove it"
        )
    return header
