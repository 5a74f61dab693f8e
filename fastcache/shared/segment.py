"""Segment: a file in shared memory, created completely, and attached by many processes."""

from __future__ import annotations

import contextlib
import mmap
import os
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Self

from fastcache.shared import segment_file as file
from fastcache.shared._words import Counters
from fastcache.shared.errors import (
    SegmentError,
    SegmentFull,
    SegmentMissing,
    SegmentUnusable,
)
from fastcache.shared.segment_layout import (
    HEADER_SIZE,
    MAX_IDENTITY,
    WORD,
    WORDS_AT,
    Header,
    Region,
    bound_size,
    bound_word,
    checked,
    laid_out,
    whole_pages,
)

_NAMELESS = "memory without a name"


class Segment:
    """Memory that processes share by the name of a file, in named regions.

    It is created by `create`, `attach` or `open`. The used part of it is backed by storage, so that
    accessing it cannot fail. It is attached only if it belongs to this user, is complete, and has
    the current boot and layout. Every process that has it open holds it. A segment without holders
    may be removed, or replaced by a new one with the same name; it is never changed in place.

    A forked child shares its parent's hold and claims. To have its own, it calls `reopened`.
    """

    def __init__(self, path: str, fd: int, *, created: bool) -> None:
        """Map the file of a locked descriptor, which the segment then owns."""
        # The descriptor is closed with the segment, even if `close` is never called.
        self._release = weakref.finalize(self, os.close, fd)
        self._release.atexit = False
        self._path = path
        self._fd = fd
        self._created = created
        self._process = os.getpid()
        self._claims: set[int] = set()
        try:
            self._header = checked(fd, path)
            self._map = mmap.mmap(fd, self._header.total)
        except (OSError, ValueError) as error:
            self._release()
            raise SegmentError(f"{path} cannot be mapped: {error}") from error
        except SegmentError:
            self._release()
            raise
        self._view = memoryview(self._map)
        self._indexes = {name: index for index, name in enumerate(self._header.extents)}
        words = self._view[WORDS_AT : WORDS_AT + WORD.size * len(self._indexes)]
        self._words = Counters(tuple(self._indexes), memory=words)
        # The last known numbers; damaged words are restored from them.
        self._known = {name: extent.size for name, extent in self._header.extents.items()}

    # -------------------------------------------------------------- creating and attaching

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        regions: Mapping[str, Region],
        *,
        identity: bytes = b"",
        prepare: Callable[[Segment], None] | None = None,
    ) -> Self:
        """Create a segment of zeros that other processes cannot see before it is complete.

        `prepare` is called with it before it gets its name. `identity`, up to 64 bytes, identifies
        its owner. Raises SegmentError if the name is taken, or the segment cannot be created.
        """
        try:
            return cls._create(os.path.abspath(path), regions, identity, prepare)
        except FileExistsError as error:
            raise SegmentError(f"{os.path.abspath(path)} already exists") from error

    @classmethod
    def create_nameless(
        cls,
        regions: Mapping[str, Region],
        *,
        identity: bytes = b"",
        prepare: Callable[[Segment], None] | None = None,
    ) -> Self:
        """Create a segment without a name, for this process and its children.

        It is in no directory, so no file system needs to have room for it. Otherwise like
        `create`; `path` is only a text for messages.
        """
        fd = file.open_in_memory("fastcache")
        return cls._made(fd, _NAMELESS, regions, identity, prepare)

    @classmethod
    def attach(
        cls,
        path: str | os.PathLike[str],
        *,
        identity: bytes | None = None,
        owner: int | None = None,
    ) -> Self:
        """Attach to a segment that another process of this user created, and hold it.

        With `identity`, the segment must have been created with the same; with `owner`, it must
        belong to that user, which root can open too. Raises SegmentMissing, SegmentUnusable or
        SegmentForbidden if that is not the case.
        """
        name = os.path.abspath(path)
        fd = file.open_held(name, owner)
        segment = cls(name, fd, created=False)
        if identity is not None and segment.identity != identity:
            segment.close()
            raise SegmentUnusable(f"{name} is not the segment of this identity; use another name")
        return segment

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        regions: Mapping[str, Region],
        *,
        identity: bytes = b"",
        prepare: Callable[[Segment], None] | None = None,
    ) -> Self:
        """Attach to the segment; create it if it is missing, or if it is unusable and not held.

        A segment with other regions or another identity is unusable, too. If several processes do
        this at the same time, one creates it and the others attach to it.
        """
        name = os.path.abspath(path)
        until = time.monotonic() + file.PATIENCE
        while True:
            try:
                segment = cls.attach(name, identity=identity)
                if segment.fits(regions):
                    return segment
                segment.close()
                raise SegmentUnusable(
                    f"{name} has other regions than this version; stop the processes that use it"
                )
            except SegmentMissing:
                with contextlib.suppress(FileExistsError):
                    return cls._create(name, regions, identity, prepare)
            except SegmentUnusable as error:
                # The lock may be held briefly by another process that examines the file.
                if not file.remove_unheld(name) and time.monotonic() > until:
                    raise SegmentUnusable(
                        f"{error}; it is in use, so it is not replaced"
                    ) from error
            time.sleep(file.PAUSE)

    @staticmethod
    def discard(path: str | os.PathLike[str]) -> bool:
        """Remove a file of this user that is not a usable segment; False if it is held."""
        return file.remove_unheld(os.path.abspath(path))

    @classmethod
    def _create(
        cls,
        path: str,
        regions: Mapping[str, Region],
        identity: bytes,
        prepare: Callable[[Segment], None] | None,
    ) -> Self:
        with contextlib.ExitStack() as undo:
            fd = file.open_nameless(path)
            segment = cls._made(fd, path, regions, identity, prepare)
            undo.callback(segment.close)
            file.give_name(fd, path)
            undo.pop_all()
        return segment

    @classmethod
    def _made(
        cls,
        fd: int,
        path: str,
        regions: Mapping[str, Region],
        identity: bytes,
        prepare: Callable[[Segment], None] | None,
    ) -> Self:
        """Make a segment of an empty file, which it then owns; the file is closed on failure."""
        try:
            if len(identity) > MAX_IDENTITY:
                raise ValueError(f"identity has up to {MAX_IDENTITY} bytes, not {len(identity)}")
            extents, total = laid_out(regions)
            header = Header(os.urandom(16), file.boot_id(), identity, extents, total)
            file.extend(fd, total, path)
            file.back(fd, 0, HEADER_SIZE, path)
            for extent in extents.values():
                file.back(fd, extent.offset, extent.size, path)
            os.pwrite(fd, header.packed(), 0)
            words = [WORD.pack(bound_word(extent.size)) for extent in extents.values()]
            os.pwrite(fd, b"".join(words), WORDS_AT)
            file.lock(fd, file.SHARED, file.HOLDERS)
        except BaseException:
            os.close(fd)
            raise
        segment = cls(path, fd, created=True)
        try:
            if prepare is not None:
                prepare(segment)
        except BaseException:
            segment.close()
            raise
        return segment

    def reopened(self) -> Self:
        """The same segment with its own hold and claims, even if its name was removed.

        For a child after a fork, which then closes this one.
        """
        fd = file.open_again(self._fd, self._path)
        try:
            # False only if it was removed through this object; then no other process can attach to
            # it.
            file.lock(fd, file.SHARED, file.HOLDERS)
        except SegmentError:
            os.close(fd)
            raise
        return type(self)(self._path, fd, created=False)

    # -------------------------------------------------------------- properties

    @property
    def path(self) -> str:
        """The absolute path at which it was created or found."""
        return self._path

    @property
    def uuid(self) -> str:
        """32 hexadecimal digits that distinguish it from other segments with the same name."""
        return self._header.uuid.hex()

    @property
    def identity(self) -> bytes:
        """The identity that was passed when it was created."""
        return self._header.identity

    @property
    def created(self) -> bool:
        """Whether this object created it; False if it was attached."""
        return self._created

    @property
    def regions(self) -> dict[str, Region]:
        """Its regions; their sizes are multiples of a page."""
        return {
            name: Region(extent.size, extent.reserved)
            for name, extent in self._header.extents.items()
        }

    def fits(self, regions: Mapping[str, Region]) -> bool:
        """Whether it has regions with these names and sizes."""
        extents, _ = laid_out(regions)
        return self._header.extents == extents

    # -------------------------------------------------------------- memory

    def memory(self, name: str) -> memoryview:
        """The memory of a region, page-aligned, with all of its reserved size.

        Only the first `backed` bytes may be used.
        """
        extent = self._header.extents[name]
        return self._view[extent.offset : extent.offset + extent.reserved]

    def backed(self, name: str) -> int:
        """The number of bytes of a region that are backed by storage; it only ever increases.

        A damaged word is restored to the last known value.
        """
        extent = self._header.extents[name]
        word = self._words.value(self._indexes[name])
        size = bound_size(word)
        if size is not None and extent.size <= size <= extent.reserved:
            self._known[name] = max(self._known[name], size)
        else:
            self._words.compare_exchange(self._indexes[name], word, bound_word(self._known[name]))
        return self._known[name]

    def backed_word(self, name: str) -> memoryview:
        """The word that `backed` reads, for code that checks it at each use."""
        at = WORDS_AT + WORD.size * self._indexes[name]
        return self._view[at : at + WORD.size]

    def grow(self, name: str, size: int) -> None:
        """Back at least `size` bytes of a region, for all processes.

        Several processes may do this repeatedly and at the same time. Raises SegmentFull, without a
        change, if the region has reserved less or the system has no memory.
        """
        extent = self._header.extents[name]
        wanted = whole_pages(size)
        if wanted > extent.reserved:
            raise SegmentFull(
                f"region {name} of {self._path} reserved {extent.reserved} bytes, "
                f"but {size} are needed; create a larger segment"
            )
        if wanted > self.backed(name):
            file.back(self._fd, extent.offset, wanted, self._path)
            while (size := self.backed(name)) < wanted:
                self._words.compare_exchange(
                    self._indexes[name], bound_word(size), bound_word(wanted)
                )

    # -------------------------------------------------------------- holding

    def claim(self, index: int) -> bool:
        """Claim a number, from 0, while this segment is open; False if it is already claimed.

        A claim ends with its process, however the process dies.
        """
        self._check_process()
        if file.lock(self._fd, file.EXCLUSIVE, file.claim_byte(index)):
            self._claims.add(index)
            return True
        return False

    def claimed(self, index: int) -> bool:
        """Whether a number is claimed, including by this object."""
        self._check_process()
        return index in self._claims or file.is_locked(self._fd, file.claim_byte(index))

    def remove(self, last: Callable[[], None] = lambda: None) -> bool:
        """Remove its name if no other process holds it; returns whether it was removed.

        The mapping stays usable, and held if it was not removed. `last` is called before the
        removal, when no other process can hold it any more; if it raises, the name stays.
        """
        self._check_process()
        removed = False
        try:
            removed = self._remove_alone(last)
        finally:
            if not removed:
                file.lock(self._fd, file.SHARED, file.HOLDERS)
        return removed

    def leave(self, last: Callable[[], None] = lambda: None) -> bool:
        """Close it and `remove` it if no other process holds it; returns whether it did.

        If several holders leave at the same moment, one of them removes it.
        """
        self._check_process()
        with self:
            # Released first: otherwise two leaving holders would prevent each other's removal.
            file.lock(self._fd, file.UNLOCKED, file.HOLDERS)
            return self._remove_alone(last)

    def _remove_alone(self, last: Callable[[], None]) -> bool:
        if not file.lock(self._fd, file.EXCLUSIVE, file.HOLDERS):
            return False
        if not file.leads_to(self._path, self._fd):
            return False
        last()
        try:
            os.unlink(self._path)
        except OSError as error:
            raise SegmentError(f"{self._path} cannot be removed: {error.strerror}") from error
        return True

    def close(self) -> None:
        """Release the segment. It stays mapped and held while its memory is in use elsewhere."""
        if not self._release.alive:
            return
        del self._words
        self._view.release()
        # The users of the memory keep the mapping; it is removed with the last of them.
        with contextlib.suppress(BufferError):
            self._map.close()
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("a forked process shares its parent's claims: call reopened() first")
