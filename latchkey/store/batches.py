"""Reading a long selection in batches, so that no read stays open between two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

_BATCH = 1_000


def newest_first(
    page: Callable[[int, int | None], Sequence[T]],
    number_of: Callable[[T], int],
    limit: int | None,
) -> Iterator[T]:
    """At most ``limit`` rows, newest first; None is no limit.

    ``page`` reads at most so many rows, with numbers below the second argument, None for the
    newest. ``number_of`` is the number of a row.
    """
    before = None
    while limit is None or limit > 0:
        size = _BATCH if limit is None else min(_BATCH, limit)
        found = page(size, before)
        yield from found
        if len(found) < size:
            return
        before = number_of(found[-1])
        limit = None if limit is None else limit - size
