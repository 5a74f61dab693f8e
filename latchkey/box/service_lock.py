"""The lock file of a service: who serves a database, and which memory they share.

Every process of a service holds it. A process that has it alone knows that nobody serves, and that
nobody can begin to. The segment's name is random, so the file is the only place that has it.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from latchkey.errors import ServiceUnreachable
from latchkey.files.locks import LockHeld, lock_within, try_lock
from latchkey.files.shared_places import open_lock


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """What the lock file says of the service: its segment, without a path where it shares none.

    Without a ``uuid``, a segment was about to be made at the path.
    """

    path: str | None
    uuid: str


_PATIENCE = 10.0


class ServiceLock:
    """The lock file of one database's service. It ends with the last process that has it open."""

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open the file; ServiceUnreachable where that cannot be, or another user put it there."""
        try:
            self._descriptor = open_lock(path, create=create)
        except OSError as error:
            raise ServiceUnreachable(
                f"the lock of the service, {path}, cannot be opened: {error.strerror}"
            ) from None

    def take(self) -> bool:
        """Have it alone, if nobody else holds it."""
        return try_lock(self._descriptor)

    def share(self) -> bool:
        """Hold it with other services, unless somebody has it alone."""
        return try_lock(self._descriptor, fcntl.LOCK_SH)

    def share_after_taking(self) -> None:
        """Let others in again; raises ServiceUnreachable where a command then keeps it for long."""
        try:
            lock_within(self._descriptor, _PATIENCE, fcntl.LOCK_SH)
        except LockHeld:
            raise ServiceUnreachable("a command keeps the lock of the service") from None

    def read(self) -> SegmentRecord | None:
        """What the service says of itself; None where that is nothing, or not written yet."""
        try:
            fields = json.loads(os.pread(self._descriptor, 4096, 0))
            path, uuid = fields["segment"], fields["uuid"]
        except (ValueError, KeyError, TypeError):
            return None
        if not isinstance(uuid, str) or not (path is None or isinstance(path, str)):
            return None
        return SegmentRecord(path, uuid)

    def write(self, record: SegmentRecord) -> None:
        """Say which segment the service shares; only for a process that has the lock alone."""
        text = json.dumps({"segment": record.path, "uuid": record.uuid}).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)

    def close(self) -> None:
        """Let go, in this process."""
        os.close(self._descriptor)
