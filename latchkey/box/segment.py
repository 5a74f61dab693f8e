"""The life of a service's shared memory: who makes it, who attaches to it, who takes it away.

Where the lock of the service is held, it says which segment the service shares, and a command that
changes keys reaches that, or leaves the keys as they are. A segment's name cannot be foreseen, so
nobody can be there first; and none is used that does not belong to the service's user.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fastcache.shared import Segment, SegmentError, SegmentMissing, SegmentUnusable
from latchkey.box.service_lock import SegmentRecord, ServiceLock
from latchkey.box.shared import SMALLEST, SharedState
from latchkey.box.use_counts import LiveTallies
from latchkey.config import Settings, variable
from latchkey.errors import ConfigurationError, ServiceUnreachable, StoreError
from latchkey.files.owner import owner_of, require_own
from latchkey.store.database_urls import database_at
from latchkey.store.protocols import Store

log = logging.getLogger("latchkey")

# Part of the identity: a version that lays the memory out otherwise takes another number.
_LAYOUT = 5
_MEBIBYTE = 1 << 20
# A command that is changing a key, or a service that is about to end, is done sooner.
_START_PATIENCE = 10.0
_COMMAND_PATIENCE = 2.0
_PAUSE = 0.05
# Another process that looks at a segment which is no longer used lets go of it sooner.
_LEFTOVER_PATIENCE = 1.0


class ServiceSegment:
    """What a serving process holds: the lock, and the segment.

    Where shared memory cannot be had, a single worker, those before and after a reload, share a
    segment that nobody else can reach; ``warning`` then says why, and is None otherwise.
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
        """Whether nobody else can reach the segment, so that there can be one worker only."""
        return self.warning is not None

    @classmethod
    def open(cls, settings: Settings) -> ServiceSegment:
        """Make the memory of a service, or join the one that serves the same database.

        For the process that forks the workers, before it does, or for each worker; the database
        is migrated. Raises ConfigurationError where it cannot be had and there are several workers,
        and where root would serve another user's database.
        """
        require_own(database_at(settings.database_url).place)
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
                # Another service began in between, with memory of its own: join that.
                opened.segment.close()
                continue
            reason = "a command has locked it"
            if lock.share():
                try:
                    segment = _attach(lock.read(), settings, os.geteuid())
                except SegmentError as error:
                    reason = str(error)
                else:
                    # What was remembered may be of another version, or another's settings.
                    SharedState.over(segment).invalidate_all()
                    return cls(settings, lock, segment, None)
            if time.monotonic() > until:
                raise ConfigurationError(
                    f"another service uses this database, and its memory cannot be shared: {reason}"
                )
            time.sleep(_PAUSE)

    @classmethod
    def _make(cls, settings: Settings, lock: ServiceLock) -> ServiceSegment:
        """Nobody else serves: write down what an earlier service left, and begin anew."""
        try:
            with _store(settings) as store:
                segment = _renewed(settings, lock, store)
        except StoreError as error:
            raise ConfigurationError(f"the database cannot be used: {error.detail}") from None
        except SegmentError as error:
            if settings.workers > 1:
                raise ConfigurationError(
                    f"no shared memory, which several workers need: {error}; see "
                    f"{variable('shared_memory')} and {variable('shared_size')}, or set "
                    f"{settings.source('workers')} to 1"
                ) from None
            opened = cls(
                settings,
                lock,
                _nameless(settings),
                f"no shared memory, so one worker at most: {error}",
            )
            _learn_imported(settings, opened.segment)
            lock.write(opened._record)
            return opened
        if not segment.created:
            # Somebody looks at it, who may have seen it before a change.
            SharedState.over(segment).invalidate_all()
        # Also where somebody looks at an older one: imports go past it while nobody serves.
        _learn_imported(settings, segment)
        opened = cls(settings, lock, segment, None)
        lock.write(opened._record)
        return opened

    @property
    def _record(self) -> SegmentRecord:
        return SegmentRecord(None if self.is_private else self.segment.path, self.segment.uuid)

    def for_worker(self) -> SharedState:
        """The state of a worker; in the child after a fork, held and claimed apart."""
        if os.getpid() == self._process:
            return SharedState.over(self.segment)
        own = self.segment.reopened()
        self.segment.close()
        return SharedState.over(own)

    def disown(self) -> None:
        """Let go in a child after a fork, which serves nothing; the parent goes on holding it."""
        self._lock.close()
        self.segment.close()

    def close(self) -> None:
        """For the end of a clean stop, when no worker of ours is left.

        Writes down what is counted. The last who holds the segment takes it away. Raises
        StoreError where nothing could be written; then the segment stays, for the next start.
        """
        try:
            with self.segment, _store(self._settings) as store:
                _write_down(self.segment, store)
                if self.segment.leave():
                    store.usage.forget_other_segments(None)
        finally:
            self._lock.close()


def segment_path(settings: Settings) -> Path:
    """Where the segment of the service lies, or lay; raises ServiceUnreachable without one."""
    lock = _lock_of(settings, create=False)
    try:
        record = lock.read()
    finally:
        lock.close()
    if record is None or record.path is None:
        raise ServiceUnreachable("no service has shared its memory")
    return Path(record.path)


@contextmanager
def changing_keys(settings: Settings) -> Iterator[SharedState]:
    """For a command that changes keys: a state whose invalidations reach whoever serves.

    Nobody serves, and nobody begins to before the end of the block; or the service's own memory
    is attached. Raises ServiceUnreachable where there is a service and that fails.
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
                # It may be starting or ending just now, or another command may be at work.
                if time.monotonic() > until:
                    raise ServiceUnreachable(
                        f"nothing was changed: a service uses this database, and its memory "
                        f"cannot be reached ({error}); use its HTTP API, run this as its user and "
                        "in its container, or stop it first"
                    ) from None
            time.sleep(_PAUSE)
    finally:
        lock.close()
    with segment:
        yield SharedState.over(segment)


@contextmanager
def without_service(settings: Settings) -> Iterator[None]:
    """For a command that nobody may serve beside; raises ServiceUnreachable where somebody does."""
    lock = _lock_of(settings)
    try:
        if not lock.take():
            raise ServiceUnreachable(
                "nothing was changed: a service uses this database, or another command is at "
                "work; stop it first"
            )
        yield
    finally:
        lock.close()


@contextmanager
def attached(settings: Settings) -> Iterator[SharedState]:
    """The memory of the service, or what an ended one left; raises ServiceUnreachable."""
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
    return ServiceLock(database_at(settings.database_url).service_lock, create=create)


def _owner(settings: Settings) -> int:
    """The user of the instance, by number."""
    return owner_of(database_at(settings.database_url).place)


@contextmanager
def _store(settings: Settings) -> Iterator[Store]:
    """The database, in the process that forks the workers: nothing of it is left open."""
    store = database_at(settings.database_url).open_store()
    try:
        yield store
    finally:
        store.close()


def _renewed(settings: Settings, lock: ServiceLock, store: Store) -> Segment:
    """A segment that begins with nothing, unless somebody still holds an earlier one.

    A command that changes keys may hold it: what it invalidates there has to reach this service.
    """
    regions = SharedState.regions(settings.shared_size * _MEBIBYTE)
    until = time.monotonic() + _LEFTOVER_PATIENCE
    while (held := _take_leftovers(settings, lock, store)) is not None:
        if held.fits(regions):
            return held
        held.close()
        if time.monotonic() > until:
            raise SegmentUnusable(f"{held.path} has another size; stop what still uses it")
        time.sleep(_PAUSE)
    path = settings.shared_memory.absolute() / (_names(settings) + secrets.token_hex(16))
    # Before the segment is there: whatever kills this process, the next start finds it.
    lock.write(SegmentRecord(str(path), ""))
    segment = Segment.create(
        path, regions, identity=_identity(settings), prepare=SharedState.prepare
    )
    store.usage.forget_other_segments(segment.uuid)
    return segment


def _take_leftovers(settings: Settings, lock: ServiceLock, store: Store) -> Segment | None:
    """Write down what earlier services counted that did not get to it, and remove their segments.

    One that somebody still holds is returned instead.
    """
    record = lock.read()
    paths = [] if record is None or record.path is None else [record.path]
    for path in dict.fromkeys([*paths, *_found_in_memory(settings)]):
        try:
            leftover = Segment.attach(path, identity=_identity(settings), owner=os.geteuid())
        except SegmentMissing:
            continue
        except SegmentError as error:
            if not _discarded(path, error):
                log.warning("the shared memory of an earlier service was not removed: %s", error)
            continue
        try:
            _write_down(leftover, store)
            removed = leftover.remove()
        except BaseException:
            leftover.close()
            raise
        if not removed:
            return leftover
        leftover.close()
    return None


def _discarded(path: str, error: SegmentError) -> bool:
    """Remove a segment of this user's that cannot be read, such as another version's."""
    if not isinstance(error, SegmentUnusable):
        return False
    if not Path(path).name.startswith(f"latchkey-{os.geteuid()}-"):
        return False
    try:
        return Segment.discard(path)
    except SegmentError:
        return False


def _found_in_memory(settings: Settings) -> list[str]:
    """Segments of this user and database, also where the lock file that named them is gone."""
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
        # What is wrong with the directory is for the making of a segment to say.
        return []


def _names(settings: Settings) -> str:
    """How the names of all segments begin that this user makes for a database, by its real path."""
    return f"latchkey-{os.geteuid()}-{_database_digest(settings).hex()[:16]}-"


def _learn_imported(settings: Settings, segment: Segment) -> None:
    """Have the memory know which tokens were imported, before anybody is served by it."""
    try:
        with _store(settings) as store:
            SharedState.over(segment).learn_imported(store.imported.hashes())
    except StoreError as error:
        raise ConfigurationError(f"the database cannot be used: {error.detail}") from None


def _nameless(settings: Settings) -> Segment:
    """The segment of a single worker and its successors; raises ConfigurationError."""
    try:
        return Segment.create_nameless(
            SharedState.regions(SMALLEST),
            identity=_identity(settings),
            prepare=SharedState.prepare,
        )
    except SegmentError as error:
        raise ConfigurationError(f"no memory for counters: {error}") from None


def _write_down(segment: Segment, store: Store) -> None:
    tallies = LiveTallies(SharedState.over(segment))
    store.usage.flush(segment.uuid, tallies.unwritten(), datetime.now(UTC))


def _attach(record: SegmentRecord | None, settings: Settings, owner: int) -> Segment:
    """Attach to the segment that a service says it shares, of this user; raises SegmentError."""
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
    return hashlib.sha256(database_at(settings.database_url).identity).digest()
