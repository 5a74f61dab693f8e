"""Replaying the log of invalidations, so that every committed change takes effect.

A process that changes a credential or an account commits, invalidates it, and marks the row of the
log as replayed. If it is killed in between, or reaches only the database, the row is not marked.
Every worker reads such rows several times a second and invalidates what they name.
Workers do not wait for each other: a stopped worker delays no other, and replaying a row twice is
harmless.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from latchkey.box.shared import SharedState, Word
from latchkey.credentials.models import Invalidation
from latchkey.store.protocols import InvalidationLog

log = logging.getLogger("latchkey")


class Replay:
    """Applies the log to a shared state, which stores the number of the last replayed row."""

    def __init__(
        self,
        invalidations: InvalidationLog,
        shared: SharedState,
        on_replacement: Callable[[], None] | None = None,
    ) -> None:
        """``on_replacement`` is called if the database was replaced by another one."""
        self._log = invalidations
        self._shared = shared
        self._on_replacement = on_replacement
        # The last row that this worker has read. A log without it is another database's.
        self._last: Invalidation | None = None

    def run(self) -> None:
        """Invalidate the credentials and accounts that unmarked rows name; raises StoreError."""
        while True:
            seen = self._shared.words.value(Word.REPLAYED)
            known = seen if self._last is None else self._last.number
            # Read the last known row as well: the log keeps it.
            rows = self._log.after(max(known - 1, 0))
            if known and not self._goes_on(rows, known):
                self._start_again(seen)
                continue
            for row in rows:
                if row.number > seen:
                    self._shared.invalidate(row.lookup)
            if rows:
                self._shared.words.raise_to(Word.REPLAYED, rows[-1].number)
            if not rows or rows[-1] == self._last:
                if self._last is None or seen <= self._last.number:
                    return
                # The shared word is damaged: rows beyond the end of the log cannot be replayed yet.
                self._start_again(seen)
                continue
            self._last = rows[-1]

    def note(self, number: int) -> None:
        """Mark a row as replayed: its lookup key has been invalidated.

        This has an effect only if every row before it is marked. Otherwise the replay processes the
        missing row first, and continues from there.
        """
        self._shared.words.compare_exchange(Word.REPLAYED, number - 1, number)

    def _goes_on(self, rows: list[Invalidation], known: int) -> bool:
        """Whether the log still has the known row, unchanged."""
        if not rows or rows[0].number != known:
            return False
        return self._last is None or rows[0] == self._last

    def _start_again(self, seen: int) -> None:
        """Invalidate everything: the log is another one, because the database was replaced.

        The same happens if this worker was stopped so long that its place in the log was deleted.
        """
        log.warning("the database was replaced: all cached entries are invalidated")
        self._last = None
        self._shared.invalidate_all()
        # The other database may have imported tokens of its own.
        self._shared.knows_imported = False
        self._shared.words.compare_exchange(Word.REPLAYED, seen, 0)
        if self._on_replacement is not None:
            self._on_replacement()
