"""The life of a service's shared memory: who makes it, who attaches to it, who takes it away.

A service holds a lock file beside its database for as long as any of its processes lives. Whoever
has that lock alone knows that nobody serves, and that nobody can begin to. Where it is held, the
file says which segment the service shares, and a command that changes keys reaches that, or leaves
the keys as they are.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.auth.shared import SMALLEST, SharedState
from app.auth.tallies import LiveTallies
from app.config import Settings, variable
from app.errors import ConfigurationError, ServiceUnreachable, StoreError
from app.files import open_lock
from app.store import Store
from app.store.location import database_path
from fastcache import Segment, SegmentError, SegmentMissing

# Part of the identity: a version that lays the memory out otherwise takes another number.
_LAYOUT = 5
_MEBIBYTE = 1 << 20
# A command that is changing a key, or a service that is about to end, is done sooner.
_START_PATIENCE = 10.0
_COMMAND_PATIENCE = 2.0
_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class _Record:
    """What the lock file says of the service: its segment, without a path where it shares none."""

    path: str | None
    uuid: str


class _ServiceLock:
    """The lock file beside a database. It ends with the last process that has it open."""

    def __init__(self, database: Path, *, create: bool) -> None:
        path = database.with_name(f"{database.name}-service")
        self._descriptor = open_lock(path, create=create)

    def take(self) -> bool:
        """Have it alone, if nobody else holds it."""
        return self._try(fcntl.LOCK_EX)

    def share(self) -> bool:
        """Hold it with other services, unless somebody has it alone."""
        return self._try(fcntl.LOCK_SH)

    def share_after_taking(self) -> None:
        """Let others in again. Whoever has it alone in between is soon done."""
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def read(self) -> _Record | None:
        """What the service says of itself; None where that is nothing, or not written yet."""
        try:
            fields = json.loads(os.pread(self._descriptor, 4096, 0))
            return _Record(fields["segment"], fields["uuid"])
        except (ValueError, KeyError, TypeError):
            return None

    def write(self, record: _Record) -> None:
        """Say which segment the service shares; only whoever has the lock alone."""
        text = json.dumps({"segment": record.path, "uuid": record.uuid}).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)

    def close(self) -> None:
        """Let go, in this process."""
        os.close(self._descriptor)


class ServiceSegment:
    """What a serving process holds: the lock, and the segment.

    Where shared memory cannot be had, a single worker, those before and after a reload, share a
    segment that nobody else can reach; ``warning`` then says why, and is None otherwise.
    """

    def __init__(
        self, settings: Settings, lock: _ServiceLock, segment: Segment, warning: str | None
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
        is migrated. Raises ConfigurationError where it cannot be had and there are several workers.
        """
        lock = _lock_of(settings)
        try:
            return cls._open(settings, lock)
        except BaseException:
            lock.close()
            raise

    @classmethod
    def _open(cls, settings: Settings, lock: _ServiceLock) -> ServiceSegment:
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
                    segment = _attach(lock.read(), settings)
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
    def _make(cls, settings: Settings, lock: _ServiceLock) -> ServiceSegment:
        """Nobody else serves: write down what an earlier service left, and begin anew."""
        try:
            with _store(settings) as store:
                segment = _renewed(settings, store)
        except StoreError as error:
            raise ConfigurationError(f"the database cannot be used: {error.detail}") from None
        except SegmentError as error:
            if settings.workers > 1:
                raise ConfigurationError(
                    f"no shared memory, which several workers need: {error}; see "
                    f"{variable('shared_memory')} and {variable('shared_size')}, or set "
                    f"{variable('workers')}=1"
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
    def _record(self) -> _Record:
        return _Record(None if self.is_private else self.segment.path, self.segment.uuid)

    def for_worker(self) -> SharedState:
        """The state of a worker; in the child after a fork, held and claimed apart."""
        if os.getpid() == self._process:
            return SharedState.over(self.segment)
        own = self.segment.reopened()
        self.segment.close()
        return SharedState.over(own)

    def close(self) -> None:
        """For the end of a clean stop, when no worker of ours is left.

        Writes down what is counted. The last who holds the segment takes it away. Raises
        StoreError where nothing could be written; then the segment stays, for the next start.
        """
        try:
            with self.segment, _store(self._settings) as store:
                _write_down(self.segment, store)
                if self.segment.remove():
                    store.usage.forget_other_segments(None)
        finally:
            self._lock.close()


def segment_path(settings: Settings) -> Path:
    """Where the segment of a database lies: by its real path, and by the user."""
    digest = _database_digest(settings).hex()
    return settings.shared_memory / f"latchkey-{os.geteuid()}-{digest[:16]}"


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
                segment = _attach(lock.read(), settings)
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
        segment = _attach(lock.read(), settings)
    except SegmentError as error:
        raise ServiceUnreachable(f"no service shares memory with this command: {error}") from None
    finally:
        lock.close()
    with segment:
        yield SharedState.over(segment)


def _lock_of(settings: Settings, *, create: bool = True) -> _ServiceLock:
    path = database_path(settings.database_url).resolve()
    try:
        return _ServiceLock(path, create=create)
    except OSError as error:
        raise ServiceUnreachable(
            f"the lock of the service, {path}-service, cannot be opened: {error.strerror}"
        ) from None


@contextmanager
def _store(settings: Settings) -> Iterator[Store]:
    """The database, in the process that forks the workers: nothing of it is left open."""
    store = Store(settings.database_url)
    try:
        yield store
    finally:
        store.close()


def _renewed(settings: Settings, store: Store) -> Segment:
    """A segment that begins with nothing, unless somebody still holds the one that is there."""
    path = segment_path(settings)
    _write_down_leftovers(path, settings, store)
    segment = Segment.open(
        path,
        SharedState.regions(settings.shared_size * _MEBIBYTE),
        identity=_identity(settings),
        prepare=SharedState.prepare,
    )
    if segment.created:
        store.usage.forget_other_segments(segment.uuid)
    return segment


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
        raise ConfigurationError(f"no memory to count in: {error}") from None


def _write_down_leftovers(path: Path, settings: Settings, store: Store) -> None:
    """Write down what a service counted that did not get to it, and take its segment away."""
    try:
        leftover = Segment.attach(path, identity=_identity(settings))
    except SegmentError:
        # There is none, or none that can be read; what is to be said of that, opening it says.
        return
    with leftover:
        _write_down(leftover, store)
        leftover.remove()


def _write_down(segment: Segment, store: Store) -> None:
    tallies = LiveTallies(SharedState.over(segment))
    store.usage.flush(segment.uuid, tallies.unwritten(), datetime.now(UTC))


def _attach(record: _Record | None, settings: Settings) -> Segment:
    """Attach to the segment that a service says it shares; raises SegmentError."""
    if record is None:
        raise SegmentMissing("it has not said yet where that is")
    if record.path is None:
        raise SegmentMissing("it keeps its memory to itself")
    segment = Segment.attach(record.path, identity=_identity(settings))
    if segment.uuid != record.uuid:
        segment.close()
        raise SegmentMissing(f"{record.path} is of another service")
    return segment


def _identity(settings: Settings) -> bytes:
    return b"latchkey:%d:" % _LAYOUT + _database_digest(settings)


def _database_digest(settings: Settings) -> bytes:
    path = database_path(settings.database_url).resolve()
    return hashlib.sha256(os.fsencode(path)).digest()
