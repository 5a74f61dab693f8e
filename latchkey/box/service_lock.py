"""The lock file of a service: shows whether a service runs, and names the memory that it shares.

Every process of a service holds the lock. A process with the exclusive lock knows that no service
runs, and that none can start. The segment's name is random, and only this file contains it.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from latchkey.errors import ServiceUnreachable
from latchkey.files.locks import LockHeld, lock_within, try_lock
from latchkey.files.shared_places import make_directory, open_lock


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """The record of a service's segment in the lock file; ``path`` is None for a private segment.

    ``uuid`` is empty while the segment at ``path`` is being created.
    """

    path: str | None
    uuid: str


_PATIENCE = 10.0


class ServiceLock:
    """The lock file of one database's service. The lock ends with the last process holding it."""

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open the file; raises ServiceUnreachable if that fails or another user created it.

        ``create`` it, and its directory, if they are missing.
        """
        try:
            if create:
                # It is that of the audit log's head if the database is on a server.
                make_directory(path.parent)
            self._descriptor = open_lock(path, create=create)
        except OSError as error:
            raise ServiceUnreachable(
                f"the lock of the service, {path}, cannot be opened: {error.strerror}"
            ) from None

    def take(self) -> bool:
        """Take the exclusive lock if no other process holds the lock."""
        return try_lock(self._descriptor)

    def share(self) -> bool:
        """Take the shared lock unless a process holds the exclusive one."""
        return try_lock(self._descriptor, fcntl.LOCK_SH)

    def share_after_taking(self) -> None:
        """Change to the shared lock; raises ServiceUnreachable if a command holds it too long."""
        try:
            lock_within(self._descriptor, _PATIENCE, fcntl.LOCK_SH)
        except LockHeld:
            raise ServiceUnreachable(
                "a command holds the lock of the service; try again when it has finished"
            ) from None

    def read(self) -> SegmentRecord | None:
        """Read the service's record; None if there is none, or it is incomplete.

        The same for the record of another service, in a copy of its lock file.
        """
        try:
            fields = json.loads(os.pread(self._descriptor, 4096, 0))
            path, uuid = fields["segment"], fields["uuid"]
            # Records of earlier versions do not name their file.
            if fields.get("inode", self._inode) != self._inode:
                return None
        except (ValueError, KeyError, TypeError):
            return None
        if not isinstance(uuid, str) or not (path is None or isinstance(path, str)):
            return None
        return SegmentRecord(path, uuid)

    def write(self, record: SegmentRecord) -> None:
        """Record the service's segment; requires the exclusive lock."""
        fields = {"segment": record.path, "uuid": record.uuid, "inode": self._inode}
        text = json.dumps(fields).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)

    @property
    def _inode(self) -> int:
        return os.fstat(self._descriptor).st_ino

    def close(self) -> None:
        """Release the lock of this process."""
        os.close(self._descriptor)
