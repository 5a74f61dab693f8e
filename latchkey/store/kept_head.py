"""Keeping the head of the audit log in its file, after commits: what a store does with its seal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from latchkey.credentials.audit import AuditRow, Head
from latchkey.credentials.audit_check import Verification, verify
from latchkey.errors import StoreError
from latchkey.store.audit_head import PATIENCE, HeadBusy, HeadUnusable, Seal
from latchkey.store.places import ChangePlaces

log = logging.getLogger("latchkey")


class KeptHead:
    """The head of one store's log. Without a seal nothing is kept, since nothing is written."""

    def __init__(
        self, seal: Seal | None, places: ChangePlaces, has: Callable[[Head], bool]
    ) -> None:
        """``places`` bound the threads that wait for the file; ``has`` asks the log for a row."""
        self._seal = seal
        self._places = places
        self._has = has
        # The head that could not be kept, because another process had locked its file.
        self._owed: Head | None = None

    def keep(self, head: Head) -> None:
        """Note after a commit, outside the database, how far the log goes.

        What was committed stands, whatever happens here: a fault is logged, and the next head
        replaces the missing one. Where another process keeps the file locked, one round of changes
        waits for it, and those after it do not until the lock can be had again.
        """
        if self._seal is None:
            return
        place = self._places.take() if self._owed is None else None
        try:
            self._seal.head.advance(head, self._has, 0 if place is None else PATIENCE)
            self._owed = None
        except HeadBusy as error:
            if self._owed is None:
                log.error(
                    "the head file of the audit log will be written by the next change: %s", error
                )
            self._owed = max(head, self._owed or head, key=lambda one: one.number)
        except (HeadUnusable, StoreError) as error:
            log.error(
                "the head file of the audit log was not written (see: latchkey audit verify): %s",
                error,
            )
        finally:
            if place is not None:
                self._places.release(place)

    def catch_up(self) -> None:
        """Keep the head that had to be left, if there is one."""
        if self._owed is not None:
            self.keep(self._owed)

    def write(self, head: Head) -> None:
        """Keep a head that the one before need not lead to; raises HeadUnusable."""
        if self._seal is None:
            raise StoreError("writing the head file needs the key of the audit log")
        self._seal.head.replace(head)

    def ahead_of_log(self) -> str | None:
        """What is wrong where the log lacks the row that the head names; None where it has it.

        Then the database is older than the head: changes that were answered are missing. A head
        that cannot be read is wrong as well: no change would be noted in it.
        """
        if self._seal is None:
            return None
        try:
            head = self._seal.head.read()
        except HeadUnusable as error:
            return f"the end of the audit log is not kept: {error}; see: latchkey audit verify"
        if head.number == 0 or self._has(head):
            return None
        return (
            f"the database lacks row {head.number} of the audit log, which the head file names: "
            "it is older than its last changes, and keys that were revoked may work again; "
            "see: latchkey audit verify"
        )

    def verify(self, entries: Callable[[], Iterable[AuditRow]]) -> Verification:
        """Look through the whole log, as the key and the head outside the database have it."""
        if self._seal is None:
            raise StoreError("verifying needs the key of the audit log")
        head: Head | str
        # The head first: rows that are added meanwhile only make the log longer than it says.
        try:
            head = self._seal.head.read()
        except HeadUnusable as error:
            head = str(error)
        return verify(self._seal.key, entries(), head)
