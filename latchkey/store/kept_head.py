"""Writing the head of the audit log to its file after each commit, with the store's seal."""

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
    """The head of one store's log. A store without a seal writes no rows, so no head either."""

    def __init__(
        self, seal: Seal | None, places: ChangePlaces, has: Callable[[Head], bool]
    ) -> None:
        """``places`` limits the threads that wait for the file; ``has`` looks a row up."""
        self._seal = seal
        self._places = places
        self._has = has
        # The postponed head: another process had locked the file.
        self._owed: Head | None = None

    def keep(self, head: Head) -> None:
        """After a commit, record the end of the log outside the database.

        The change stays committed if this fails: the failure is logged, and the next head replaces
        the missing one. While another process keeps the file locked, one round of changes waits for
        it; later changes do not wait until the lock is available again.
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
        """Write the head whose write was postponed, if there is one."""
        if self._owed is not None:
            self.keep(self._owed)

    def write(self, head: Head) -> None:
        """Replace the kept head without comparing the two; raises HeadUnusable."""
        if self._seal is None:
            raise StoreError("writing the head file needs the key of the audit log")
        self._seal.head.replace(head)

    def ahead_of_log(self) -> str | None:
        """Describe the fault if the log lacks the row that the head names; None if it has it.

        Then the database is older than the head: acknowledged changes are missing. A head that
        cannot be read is a fault too, because no change would update it.
        """
        if self._seal is None:
            return None
        try:
            head = self._seal.head.read()
        except HeadUnusable as error:
            return f"the audit log's end cannot be recorded: {error}; see: latchkey audit verify"
        if head.number == 0 or self._has(head):
            return None
        return (
            f"the database lacks row {head.number} of the audit log, which the head file records: "
            "the last changes are missing, and keys that were revoked may work again; "
            "see: latchkey audit verify"
        )

    def verify(self, entries: Callable[[], Iterable[AuditRow]]) -> Verification:
        """Verify the whole log with the key, and its end with the head file."""
        if self._seal is None:
            raise StoreError("verifying needs the key of the audit log")
        head: Head | str
        # Read the head first: rows that are added meanwhile make the log longer, which is no fault.
        try:
            head = self._seal.head.read()
        except HeadUnusable as error:
            head = str(error)
        return verify(self._seal.key, entries(), head)
