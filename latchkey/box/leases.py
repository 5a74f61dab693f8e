"""What the workers of a box share about their place among the boxes of one database.

A box may use what it has cached until its lease expires. A change is answered when each box has
applied it, or when the leases of the boxes that have not must have expired.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastcache.shared import Counters
from latchkey.box.shared import Word
from latchkey.credentials.models import Invalidation

MILLISECOND = 1_000_000
"""In nanoseconds."""

_USABLE = (4, 5)


def usable(lease_ms: int) -> int:
    """The nanoseconds for which a box uses a lease.

    The others wait for all of it. The difference covers clocks whose rates differ.
    """
    numerator, denominator = _USABLE
    return lease_ms * MILLISECOND * numerator // denominator


def box_name(box_id: int) -> str:
    """The id of a box as the database has it."""
    return f"{box_id:016x}"


@dataclass(frozen=True, slots=True)
class Applied:
    """The last row of the log that a box has applied; zeros if the log was empty."""

    number: int
    nonce: int

    @classmethod
    def of(cls, row: Invalidation | None) -> Applied:
        """The place of a row."""
        return cls(0, 0) if row is None else cls(row.number, row.nonce)

    @classmethod
    def read(cls, words: Counters) -> Applied:
        """The place that the words say.

        The two words are read, and written, one after the other. Words of two different rows match
        no row of the log; then the reader looks again, or the box registers anew.
        """
        return cls(words.value(Word.APPLIED_NUMBER), words.value(Word.APPLIED_NONCE))

    def advance(self, words: Counters, to: Applied) -> None:
        """Write another place, unless another worker has written one since this was read."""
        if words.compare_exchange(Word.APPLIED_NUMBER, self.number, to.number):
            words.compare_exchange(Word.APPLIED_NONCE, self.nonce, to.nonce)

    def write(self, words: Counters) -> None:
        """Write this place, whatever was there."""
        for word, value in (
            (Word.APPLIED_NUMBER, self.number),
            (Word.APPLIED_NONCE, self.nonce),
        ):
            while not words.compare_exchange(word, words.value(word), value):
                pass
