"""The head of the audit log, kept in a file outside the database.

The log alone cannot show that its end was removed. The file records the last row. After each commit
it is replaced by a new, synced file, and never by an earlier head. If the process dies before that,
the log is longer than the file says, never shorter.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from latchkey.credentials.audit import NO_ROWS, AuditKey, Head
from latchkey.files.locks import LockHeld, lock_within
from latchkey.files.shared_places import make_directory, open_lock, open_regular, replace_durably

_LARGEST = 4096


PATIENCE = 0.75
"""Seconds for which a change waits for the lock of the head."""
COMMAND_PATIENCE = 10.0
"""The same for what only the operator does: making and replacing the head."""


class HeadUnusable(Exception):
    """The head file is missing, cannot be read or written, or was altered."""


class HeadBusy(HeadUnusable):
    """Another process held the lock of the head file for too long."""


class HeadFile:
    """The file of one log. Many processes may use it at once."""

    def __init__(self, path: Path, key: AuditKey) -> None:
        """The file is not opened yet. ``key`` seals the heads that are written."""
        self.path = path
        self._key = key

    def read(self) -> Head:
        """The head as it was last written; raises HeadUnusable."""
        head, seal = self._read()
        given = seal.encode("utf-8", "surrogatepass")
        if hmac.compare_digest(self._key.seal(head).encode(), given):
            return head
        if hmac.compare_digest(self._key.former_seal(head).encode(), given):
            return replace(head, is_former=True)
        raise HeadUnusable(f"the head file {self.path} was not written with the audit key")

    def claim(self) -> Head:
        """The head in the file, without verifying its seal; raises HeadUnusable."""
        return self._read()[0]

    def _read(self) -> tuple[Head, str]:
        try:
            with open(open_regular(self.path), "rb") as file:
                fields = json.loads(file.read(_LARGEST))
            head, seal = Head(fields["number"], fields["mac"]), fields["seal"]
            if [type(value) for value in (head.number, head.mac, seal)] != [int, str, str]:
                raise TypeError
        except FileNotFoundError:
            raise HeadUnusable(f"the head file {self.path} is missing") from None
        except OSError as error:
            raise HeadUnusable(f"the head file {self.path}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError):
            raise HeadUnusable(f"the head file {self.path} is malformed") from None
        return head, seal

    def advance(
        self, head: Head, is_in_log: Callable[[Head], bool], patience: float = PATIENCE
    ) -> None:
        """Write a head, unless a later one is there.

        ``patience`` is how many seconds to wait for the lock; raises HeadBusy after that.

        ``is_in_log`` says whether the log has the row that the file names. If not, the end of the
        log was removed: the file stays as it is, as evidence, and HeadUnusable is raised. It is
        also raised if the file cannot be used.
        """
        with self._lock(patience):
            kept = self.read()
            if kept.number and not is_in_log(kept):
                raise HeadUnusable(
                    f"row {kept.number} of the log is missing or differs from the head file "
                    f"{self.path}"
                )
            if kept.number < head.number or kept.is_former:
                self._write(head)

    def make(self) -> None:
        """Write the head of a log without rows if there is no file; raises HeadUnusable."""
        with self._lock():
            if not self.path.exists():
                self._write(NO_ROWS)

    def replace(self, head: Head) -> None:
        """Replace the head unconditionally, on request of the operator. Raises HeadUnusable."""
        with self._lock():
            self._write(head)

    @contextmanager
    def _lock(self, patience: float = COMMAND_PATIENCE) -> Iterator[None]:
        # The lock has its own file, because the head file is replaced.
        lock = self.path.with_name(f"{self.path.name}.lock")
        try:
            make_directory(self.path.parent)
            descriptor = open_lock(lock)
        except OSError as error:
            raise HeadUnusable(f"{lock}: {error.strerror}") from None
        try:
            lock_within(descriptor, patience)
            yield
        except LockHeld:
            raise HeadBusy(f"another process holds the lock {lock}") from None
        finally:
            os.close(descriptor)

    def _write(self, head: Head) -> None:
        fields = {"number": head.number, "mac": head.mac, "seal": self._key.seal(head)}
        try:
            replace_durably(self.path, f"{json.dumps(fields)}\n".encode("ascii"))
        except OSError as error:
            raise HeadUnusable(f"the head file {self.path}: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class Seal:
    """The key of a log's chain and the file of its head, both needed to write the log."""

    key: AuditKey
    head: HeadFile
