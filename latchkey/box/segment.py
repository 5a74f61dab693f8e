"""The life cycle of a service's shared memory: creation, attaching and removal.

The lock file of the service records which segment the service shares. A command that changes keys
attaches to that segment, or changes nothing. The name of a segment is random, so that another user
cannot create it first. A segment that belongs to another user is never used.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from fastcache.shared import Segment, SegmentError, SegmentMissing, SegmentUnusable
from latchkey.box import leftovers
from latchkey.box.service_lock import SegmentRecord, ServiceLock
from latchkey.box.shared import SMALLEST, SharedState
from latchkey.config import Settings, variable
from latchkey.errors import ConfigurationError, ServiceUnreachable, StoreError
from latchkey.files.owner import owner_of, require_own
from latchkey.store.database_urls import database_of
from latchkey.store.protocols import Store

log = logging.getLogger("latchkey")

# Part of the identity: increased whenever the layout of the memory changes.
_LAYOUT = 9
_MEBIBYTE = 1 << 20
# Longer than a command needs to change a key, or a service to stop.
_START_PATIENCE = 10.0
_COMMAND_PATIENCE = 2.0
_PAUSE = 0.05
# Longer than another process needs to close an old segment that it still reads.
_LEFTOVER_PATIENCE = 1.0


class ServiceSegment:
    """The resources of a serving process: the lock, and the segment.

    If shared memory is unavailable, a single worker and its successors after a reload use a
    private segment, which no other process can reach. ``warning`` then gives the reason; it is
    None otherwise.
    """

    def __init__(
        self, settings: Settings, lock: ServiceLock, segment: Segment, warning: str | None
    ) -> None:
        self._settings = settings
        self._lock = lock
        self._process = os.getpid()
        self.segment = segment
        self.warning = warning

    @property
    def is_private(self) -> bool:
        """Whether other processes cannot reach the segment, so that only one worker can run."""
        return self.warning is not None

    @classmethod
    def open(cls, settings: Settings) -> ServiceSegment:
        """Create the memory of a service, or join a service that uses the same database.

        Call it after migrating the database: once in the process that forks the workers, before the
        fork, or in each worker. Raises ConfigurationError if several workers are configured and
        shared memory is unavailable, and if root would serve another user's database.
        """
        require_own(database_of(settings).place)
        lock = _lock_of(settings)
        try:
            return cls._open(settings, lock)
        except BaseException:
            lock.close()
            raise

    @classmethod
    def _open(cls, settings: Settings, lock: ServiceLock) -> ServiceSegment:
        until = time.monotonic() + _START_PATIENCE
        while True:
            if lock.take():
                opened = cls._make(settings, lock)
                lock.share_after_taking()
                if lock.read() == opened._record:
                    return opened
                # Another service started in between, with its own memory: join it.
                opened.segment.close()
                continue
            reason = "a command has locked it"
            if lock.share():
                try:
                    segment = _attach(lock.read(), settings, os.geteuid())
                except SegmentError as error:
                    reason = str(error)
                else:
                    # Cached entries may be from another version or from other settings.
                    SharedState.over(segment).invalidate_all()
                    return cls(settings, lock, segment, None)
            if time.monotonic() > until:
                raise ConfigurationError(
                    f"another service uses this database, and its memory cannot be shared: {reason}"
                )
            time.sleep(_PAUSE)

    @classmethod
    def _make(cls, settings: Settings, lock: ServiceLock) -> ServiceSegment:
        """Without another service: persist what an earlier one counted, and create the memory."""
        leased = False
        try:
            with _store(settings) as store:
                leased = store.boxes is not None
                segment = _renewed(settings, lock, store)
        except StoreError as error:
            raise ConfigurationError(f"the database cannot be used: {error.detail}") from None
        except SegmentError as error:
            if settings.workers > 1:
                raise ConfigurationError(
                    f"several workers need shared memory, which is unavailable: {error}; check "
                    f"{variable('shared_memory')} and {variable('shared_size')}, or set "
                    f"{settings.source('workers')} to 1"
                ) from None
            opened = cls(
                settings,
                lock,
                _nameless(settings, leased=leased),
                f"shared memory is unavailable, so only one worker can run: {error}",
            )
            _learn_imported(settings, opened.segment)
            lock.write(opened._record)
            return opened
        if not segment.created:
            # A process that still uses the segment may have cached entries before a change.
            SharedState.over(segment).invalidate_all()
        # An earlier segment lacks the tokens that commands imported while no service ran.
        _learn_imported(settings, segment)
        opened = cls(settings, lock, segment, None)
        lock.write(opened._record)
        return opened

    @property
    def _record(self) -> SegmentRecord:
        return SegmentRecord(None if self.is_private else self.segment.path, self.segment.uuid)

    def for_worker(self) -> SharedState:
        """The state for a worker. In a child after a fork, the segment is attached separately."""
        if os.getpid() == self._process:
            return SharedState.over(self.segment)
        own = self.segment.reopened()
        self.segment.close()
        return SharedState.over(own)

    def disown(self) -> None:
        """Close the lock and the segment in a child that does not serve; the parent keeps them."""
        self._lock.close()
        self.segment.close()

    def close(self) -> None:
        """Persist the counts and release the memory, after the last worker has stopped.

        The last process that uses the segment removes it. Raises StoreError if the counts cannot be
        persisted; the segment then stays for the next start.
        """
        try:
            with self.segment, _store(self._settings) as store:
                box_id = leftovers.persist_counts(self.segment, store)
                give_back = partial(leftovers.give_back_unspent, self.segment, store)
                if self.is_private:
                    give_back()
                if self.segment.leave(give_back) or self.is_private:
                    leftovers.note_end(store, self.segment.uuid, box_id)
        finally:
            self._lock.close()


def segment_path(settings: Settings) -> Path:
    """The path of the service's current or last segment; raises ServiceUnreachable without one."""
    with closing(_lock_of(settings, create=False)) as lock:
        record = lock.read()
    if record is None or record.path is None:
        raise ServiceUnreachable("no service shares its memory; start one first")
    return Path(record.path)


@contextmanager
def changing_keys(settings: Settings) -> Iterator[SharedState]:
    """For a command that changes keys: a state whose invalidations reach a running service.

    Without a service, none can start before the end of the block. With one, the state is in the
    service's memory. Raises ServiceUnreachable if that memory cannot be attached.
    """
    lock = _lock_of(settings)
    try:
        until = time.monotonic() + _COMMAND_PATIENCE
        while True:
            if lock.take():
                yield SharedState.private()
                return
            try:
                segment = _attach(lock.read(), settings, _owner(settings))
                break
            except SegmentError as error:
                # A service may be starting or stopping, or another command may be running.
                if time.monotonic() > until:
                    raise ServiceUnreachable(
                        f"nothing was changed: a service uses this database, and its memory "
                        f"cannot be reached ({error}); use its HTTP API, run this as its user and "
                        "in its container, or stop the service first"
                    ) from None
            time.sleep(_PAUSE)
    finally:
        lock.close()
    with segment:
        yield SharedState.over(segment)


@contextmanager
def without_service(settings: Settings) -> Iterator[Callable[[], None]]:
    """For a command that needs the database alone; raises ServiceUnreachable if a service runs.

    Services on other boxes are not noticed. The block gets a function that persists what a killed
    service has counted.
    """
    with closing(_lock_of(settings)) as lock:
        if not lock.take():
            raise ServiceUnreachable(
                "nothing was changed: a service uses this database, or another command is "
                "running; stop it first"
            )
        yield lambda: _persist_leftovers(settings, lock)


@contextmanager
def attached(settings: Settings) -> Iterator[SharedState]:
    """The memory of a running service, or of the last one; raises ServiceUnreachable."""
    lock = _lock_of(settings, create=False)
    try:
        segment = _attach(lock.read(), settings, _owner(settings))
    except SegmentError as error:
        raise ServiceUnreachable(f"no service shares memory with this command: {error}") from None
    finally:
        lock.close()
    with segment:
        yield SharedState.over(segment)


def _lock_of(settings: Settings, *, create: bool = True) -> ServiceLock:
    return ServiceLock(database_of(settings).service_lock, create=create)


def _owner(settings: Settings) -> int:
    """The numeric id of the user that owns the instance."""
    return owner_of(database_of(settings).place)


@contextmanager
def _store(settings: Settings) -> Iterator[Store]:
    """The database, for the process that forks the workers: it is closed before the fork."""
    store = database_of(settings).open_store()
    try:
        yield store
    finally:
        store.close()


def _renewed(settings: Settings, lock: ServiceLock, store: Store) -> Segment:
    """A new segment, or an earlier one that another process still uses.

    That may be a command that changes keys: its invalidations must reach this service.
    """
    regions = SharedState.regions(settings.shared_size * _MEBIBYTE)
    until = time.monotonic() + _LEFTOVER_PATIENCE
    while (held := _take_leftovers(settings, lock, store)) is not None:
        if held.fits(regions):
            return held
        held.close()
        if time.monotonic() > until:
            raise SegmentUnusable(
                f"{held.path} has another size; stop the processes that still use it"
            )
        time.sleep(_PAUSE)
    path = settings.shared_memory.absolute() / (_names(settings) + secrets.token_hex(16))
    # Recorded before the segment exists: if this process is killed, the next start removes it.
    lock.write(SegmentRecord(str(path), ""))
    prepare = partial(SharedState.prepare, leased=store.boxes is not None)
    segment = Segment.create(path, regions, identity=_identity(settings), prepare=prepare)
    if store.boxes is None:
        store.usage.forget_other_segments(segment.uuid)
    return segment


def _take_leftovers(settings: Settings, lock: ServiceLock, store: Store) -> Segment | None:
    """Persist the remaining counts of earlier services, and remove their segments.

    Returns the first segment that another process still uses, or None.
    """
    record = lock.read()
    paths = [] if record is None or record.path is None else [record.path]
    for path in dict.fromkeys([*paths, *_found_in_memory(settings)]):
        try:
            leftover = Segment.attach(path, identity=_identity(settings), owner=os.geteuid())
        except SegmentMissing:
            # The machine was restarted, or the container was replaced. With several boxes, this may
            # also be a clone of a running machine, whose segment must not be forgotten here.
            if store.boxes is None and record is not None and record.path == path:
                store.usage.forget_segment(record.uuid)
            continue
        except SegmentError as error:
            if not leftovers.discarded(path, error):
                log.warning("the shared memory of an earlier service was not removed: %s", error)
            continue
        try:
            box_id = leftovers.persist_counts(leftover, store)
            if removed := leftover.remove(partial(leftovers.give_back_unspent, leftover, store)):
                leftovers.note_end(store, leftover.uuid, box_id)
            else:
                leftovers.keep_unspent(leftover)
        except BaseException:
            leftover.close()
            raise
        if not removed:
            return leftover
        leftover.close()
    return None


def _persist_leftovers(settings: Settings, lock: ServiceLock) -> None:
    with _store(settings) as store:
        if (held := _take_leftovers(settings, lock, store)) is not None:
            held.close()
            raise ServiceUnreachable(f"nothing was changed: a process still uses {held.path}")


def _found_in_memory(settings: Settings) -> list[str]:
    """Segments of this user and database, including those that no lock file names."""
    names = _names(settings)
    try:
        with os.scandir(settings.shared_memory.absolute()) as entries:
            return sorted(
                entry.path
                for entry in entries
                if entry.name.startswith(names)
                and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
            )
    except OSError:
        # Creating a segment reports what is wrong with the directory.
        return []


def _names(settings: Settings) -> str:
    """The common prefix of all segment names of this user for a database, by its real path."""
    return f"latchkey-{os.geteuid()}-{_database_digest(settings).hex()[:16]}-"


def _learn_imported(settings: Settings, segment: Segment) -> None:
    """Load the imported tokens into the memory before the first request uses it."""
    try:
        with _store(settings) as store:
            SharedState.over(segment).learn_imported(store.imported.hashes())
    except StoreError as error:
        raise ConfigurationError(f"the database cannot be used: {error.detail}") from None


def _nameless(settings: Settings, *, leased: bool) -> Segment:
    """A private segment for a single worker and its successors; raises ConfigurationError."""
    try:
        return Segment.create_nameless(
            SharedState.regions(SMALLEST),
            identity=_identity(settings),
            prepare=partial(SharedState.prepare, leased=leased),
        )
    except SegmentError as error:
        raise ConfigurationError(f"cannot allocate memory for counters: {error}") from None


def _attach(record: SegmentRecord | None, settings: Settings, owner: int) -> Segment:
    """Attach to the recorded segment of a service, which this user owns; raises SegmentError."""
    if record is None or (record.path is not None and not record.uuid):
        raise SegmentMissing("it has not recorded its memory yet")
    if record.path is None:
        raise SegmentMissing("its memory is private")
    segment = Segment.attach(record.path, identity=_identity(settings), owner=owner)
    if segment.uuid != record.uuid:
        segment.close()
        raise SegmentMissing(f"{record.path} belongs to another service")
    return segment


def _identity(settings: Settings) -> bytes:
    return b"latchkey:%d:" % _LAYOUT + _database_digest(settings)


def _database_digest(settings: Settings) -> bytes:
    return hashlib.sha256(database_of(settings).identity).digest()
