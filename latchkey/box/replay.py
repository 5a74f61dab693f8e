"""Replaying the log of invalidations: what was committed by somebody who could not say so.

Whoever changes a credential commits, invalidates, and notes the number of its row in the log. A
process that was killed in between, or that reaches only the database, leaves a row without a note.
Every worker looks for such rows several times a second, and invalidates what they name. None waits
for another: a worker that is stopped holds nobody up, and a row replayed twice does no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from latchkey.box.shared import SharedState, Word
from latchkey.credentials.models import Invalidation
from latchkey.store.protocols import InvalidationLog

log = logging.getLogger("latchkey")


class Replay:
    """Brings a shared state up to what the log says. The state remembers how far that is."""

    def __init__(
        self,
        invalidations: InvalidationLog,
        shared: SharedState,
        on_replacement: Callable[[], None] | None = None,
    ) -> None:
        """``on_replacement`` is called where another database has taken the place of the former."""
        self._log = invalidations
        self._shared = shared
        self._on_replacement = on_replacement
        # The last row that this worker has read: if the log no longer has it, it is another log.
        self._last: Invalidation | None = None

    def run(self) -> None:
        """Invalidate what the rows name that nobody has noted; raises StoreError."""
        while True:
            seen = self._shared.words.value(Word.REPLAYED)
            known = seen if self._last is None else self._last.number
            # From the last one on that is known: the log keeps it.
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
                # The shared word is damaged: nothing beyond the log's end can be replayed yet.
                self._start_again(seen)
                continue
            self._last = rows[-1]

    def note(self, number: int) -> None:
        """Note that a row's lookup key has been invalidated.

        Only where that of every row before it has been too: where one is missing, the replay
        finds it, and goes on from there.
        """
        self._shared.words.compare_exchange(Word.REPLAYED, number - 1, number)

    def _goes_on(self, rows: list[Invalidation], known: int) -> bool:
        """Whether the log still has the row that is known, and the same."""
        if not rows or rows[0].number != known:
            return False
        return self._last is None or rows[0] == self._last

    def _start_again(self, seen: int) -> None:
        """Another log: another database is in the place of the former, most likely an older one.

        Or this worker was stopped for so long that its place in the log has been deleted.
        """
        log.warning("the database was replaced: all cached entries are invalidated")
        self._last = None
        self._shared.invalidate_all()
        # It may have imported tokens of its own.
        self._shared.knows_imported = False
        self._shared.words.compare_exchange(Word.REPLAYED, seen, 0)
        if self._on_replacement is not None:
            self._on_replacement()
