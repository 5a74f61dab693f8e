"""Segment: a file in shared memory, made whole, attached by many processes, and let go."""

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

    It is made by `create`, `attach` or `open`. What is in use of it is backed by storage,
    so that touching it cannot fail; it is attached only where it is this user's, whole,
    of this boot and of this layout. Whoever has it open holds it; what nobody holds may be
    removed, or made anew under the same name, which is never done in place.

    A forked child shares its parent's hold and claims; to have its own it calls `reopened`.
    """

    def __init__(self, path: str, fd: int, *, created: bool) -> None:
        """Map what a locked descriptor leads to, which the segment then owns."""
        # The descriptor goes with the segment, also where it is never closed.
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
        # As far as this process knows; a word that is damaged later is made good from it.
        self._known = {name: extent.size for name, extent in self._header.extents.items()}

    # -------------------------------------------------------------- making and attaching

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        regions: Mapping[str, Region],
        *,
        identity: bytes = b"",
        prepare: Callable[[Segment], None] | None = None,
    ) -> Self:
        """Make a segment of zeros that nobody sees before it is whole.

        `prepare` is called with it before it gets its name. `identity`, up to 64 bytes,
        says whose it is. SegmentError where the name is taken, or it cannot be made.
        """
        try:
            return cls._create(os.path.abspath(path), regions, identity, prepare)
        except FileExistsError as error:
            raise SegmentError(f"{os.path.abspath(path)} exists already") from error

    @classmethod
    def create_nameless(
        cls,
        regions: Mapping[str, Region],
        *,
        identity: bytes = b"",
        prepare: Callable[[Segment], None] | None = None,
    ) -> Self:
        """Make a segment that nobody can attach to, of this process and its children.

        It lies in no directory, so none has to have room for it. As `create` otherwise;
        `path` then only says that it has none.
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
        """Attach to a segment that another process of this user made, and hold it.

        With an `identity`, only to one that was made with the same; with an `owner`, only to one
        of that user, which root can open too. SegmentMissing, SegmentUnusable or SegmentForbidden
        where that cannot be.
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
        """Attach, or make it where there is none, or anew where it is unusable and unheld.

        One with other regions or another identity is unusable too. Of several processes
        that do this at once, one makes it and the others attach to that.
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
                    f"{name} has other regions than this version; stop what uses it"
                )
            except SegmentMissing:
                with contextlib.suppress(FileExistsError):
                    return cls._create(name, regions, identity, prepare)
            except SegmentUnusable as error:
                # A lock that is in the way may be that of another process that looks at it.
                if not file.remove_unheld(name) and time.monotonic() > until:
                    raise SegmentUnusable(
                        f"{error}; it is in use, so it is not made anew"
                    ) from error
            time.sleep(file.PAUSE)

    @staticmethod
    def discard(path: str | os.PathLike[str]) -> bool:
        """Remove a file of this user's that is no usable segment; False where somebody holds it."""
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
        """Make a segment of an empty file, which it then owns; closed where that fails."""
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
        """The same segment, held and claimed apart from this one, also when its name is gone.

        For a child after its fork, which then closes this one.
        """
        fd = file.open_again(self._fd, self._path)
        try:
            # False only where it was removed by way of this one: then nobody else can.
            file.lock(fd, file.SHARED, file.HOLDERS)
        except SegmentError:
            os.close(fd)
            raise
        return type(self)(self._path, fd, created=False)

    # -------------------------------------------------------------- what it is

    @property
    def path(self) -> str:
        """The absolute path it was made or found at."""
        return self._path

    @property
    def uuid(self) -> str:
        """Which segment this is, of all that ever had the name: 32 hexadecimal digits."""
        return self._header.uuid.hex()

    @property
    def identity(self) -> bytes:
        """Whose it is, in the words of who made it."""
        return self._header.identity

    @property
    def created(self) -> bool:
        """Whether this call made it, rather than found it."""
        return self._created

    @property
    def regions(self) -> dict[str, Region]:
        """Its regions, in whole pages."""
        return {
            name: Region(extent.size, extent.reserved)
            for name, extent in self._header.extents.items()
        }

    def fits(self, regions: Mapping[str, Region]) -> bool:
        """Whether it was made with regions of these names and sizes."""
        extents, _ = laid_out(regions)
        return self._header.extents == extents

    # -------------------------------------------------------------- memory

    def memory(self, name: str) -> memoryview:
        """The memory of a region, page-aligned: all that it reserved.

        Only the first `backed` bytes of it may be touched.
        """
        extent = self._header.extents[name]
        return self._view[extent.offset : extent.offset + extent.reserved]

    def backed(self, name: str) -> int:
        """How many bytes of a region are backed by storage; this only ever rises.

        A damaged word is set to what this process knows.
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
        """The word that `backed` reads, for those that look at it at each use."""
        at = WORDS_AT + WORD.size * self._indexes[name]
        return self._view[at : at + WORD.size]

    def grow(self, name: str, size: int) -> None:
        """Back at least `size` bytes of a region, for all processes at once.

        Any process may, more than once and at the same time. SegmentFull where the region
        reserved less, or the system has no room; then nothing has changed.
        """
        extent = self._header.extents[name]
        wanted = whole_pages(size)
        if wanted > extent.reserved:
            raise SegmentFull(
                f"region {name} of {self._path} reserved {extent.reserved} bytes, "
                f"{size} are needed; make the segment larger"
            )
        if wanted > self.backed(name):
            file.back(self._fd, extent.offset, wanted, self._path)
            while (size := self.backed(name)) < wanted:
                self._words.compare_exchange(
                    self._indexes[name], bound_word(size), bound_word(wanted)
                )

    # -------------------------------------------------------------- holding

    def claim(self, index: int) -> bool:
        """Take a number, from 0, for as long as this segment is open.

        False where another holds it. It comes free at whatever death of its process.
        """
        self._check_process()
        if file.lock(self._fd, file.EXCLUSIVE, file.claim_byte(index)):
            self._claims.add(index)
            return True
        return False

    def claimed(self, index: int) -> bool:
        """Whether anybody has claimed a number, this segment included."""
        self._check_process()
        return index in self._claims or file.is_locked(self._fd, file.claim_byte(index))

    def remove(self) -> bool:
        """Take its name away where nobody else holds it; tell whether that was done.

        What is mapped stays usable, and held where it was not removed. Nobody can attach to it any
        more.
        """
        self._check_process()
        removed = False
        try:
            removed = self._remove_alone()
        finally:
            if not removed:
                file.lock(self._fd, file.SHARED, file.HOLDERS)
        return removed

    def leave(self) -> bool:
        """Close it, and take its name away where nobody else holds it; tell whether that was done.

        Of several holders that leave at the same moment, one removes it.
        """
        self._check_process()
        with self:
            # Let go first: of two that still held it, each would find the other in its way.
            file.lock(self._fd, file.UNLOCKED, file.HOLDERS)
            return self._remove_alone()

    def _remove_alone(self) -> bool:
        if not file.lock(self._fd, file.EXCLUSIVE, file.HOLDERS):
            return False
        if not file.leads_to(self._path, self._fd):
            return False
        try:
            os.unlink(self._path)
        except OSError as error:
            raise SegmentError(f"{self._path} cannot be removed: {error.strerror}") from error
        return True

    def close(self) -> None:
        """Let go. While memory of it is in use elsewhere, it stays mapped and held."""
        if not self._release.alive:
            return
        del self._words
        self._view.release()
        # Whoever uses the memory keeps the map, which goes with the last of them.
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
