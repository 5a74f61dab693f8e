"""Listing credentials of a store in memory for a person: searched, filtered, sorted and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice

from latchkey.credentials.listing import (
    CONCERNS,
    COUNTED,
    LONGEST_SEARCH,
    STATUSES,
    AsOf,
    Census,
    Found,
    LimitedKeys,
    Order,
    Selection,
)
from latchkey.credentials.models import Credential
from latchkey.credentials.times import to_milliseconds
from latchkey.store.memory.state import MemoryDatabase, State


class MemoryListing:
    """Finds, sorts and counts credentials."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    def page(
        self, selection: Selection, order: Order, as_of: AsOf, *, limit: int, offset: int = 0
    ) -> list[Credential]:
        oldest_first = list(self.newest(selection, as_of, None))[::-1]
        key = _KEYS[order.by]
        valued = [one for one in oldest_first if key(one, as_of) is not None]
        without = [one for one in oldest_first if key(one, as_of) is None]
        if order.descending:
            valued.reverse()
            without.reverse()
        valued.sort(key=lambda one: key(one, as_of), reverse=order.descending)  # type: ignore[arg-type,return-value]
        return [*valued, *without][offset : offset + limit]

    def found(
        self,
        selection: Selection,
        order: Order,
        as_of: AsOf,
        *,
        limit: int,
        offset: int = 0,
        counted: int = COUNTED,
    ) -> Found:
        page = self.page(selection, order, as_of, limit=limit, offset=offset)
        total = self.count(selection, as_of)
        if selection.search is None and selection.concern is None:
            return Found(page, total)
        return Found(page, min(total, counted), total > counted)

    def newest(self, selection: Selection, as_of: AsOf, limit: int | None) -> Iterator[Credential]:
        newest = newest_of(self._database.committed)
        return islice((one for one in newest if _is_selected(one, selection, as_of)), limit)

    def count(self, selection: Selection, as_of: AsOf) -> int:
        return sum(1 for _ in self.newest(selection, as_of, None))

    def census(self, as_of: AsOf) -> Census:
        return Census(
            {status: self.count(Selection(status=status), as_of) for status in STATUSES},
            {concern: self.count(Selection(concern=concern), as_of) for concern in CONCERNS},
        )

    def limited(self, since: datetime, most: int) -> LimitedKeys:
        state, sums = self._database.committed, Counter[int]()
        for (number, hour), refusals in state.limited.items():
            if hour >= to_milliseconds(since):
                sums[number] += refusals
        ordered = sorted(sums.items(), key=lambda one: (-one[1], one[0]))[:most]
        first = tuple((state.credentials[number], refusals) for number, refusals in ordered)
        return LimitedKeys(len(sums), first)


_KEYS: dict[str, Callable[[Credential, AsOf], object]] = {
    "created": lambda one, as_of: one.id,
    "name": lambda one, as_of: None if one.name is None else _ascii_lower(one.name),
    "last_used": lambda one, as_of: one.last_used_at,
    "expires": lambda one, as_of: one.expires_at,
    "status": lambda one, as_of: STATUSES.index(one.status(as_of.now)),
}


def _ascii_lower(text: str) -> str:
    return "".join(one.lower() if one.isascii() else one for one in text)


def _is_selected(one: Credential, selection: Selection, as_of: AsOf) -> bool:
    concerns = as_of.concerns(one, one.last_used_at)
    return (
        selection.mode in (None, one.mode)
        and selection.account_id in (None, one.account_id)
        and selection.limits_of in (None, one.limits_of)
        and selection.status in (None, one.status(as_of.now))
        and (selection.concern is None or selection.concern in concerns)
        and (selection.search is None or _has(one, selection.search))
    )


def _has(one: Credential, search: str) -> bool:
    if len(search) > LONGEST_SEARCH:
        return False
    return any(search.lower() in text.lower() for text in (one.name or "", one.api_key))


def newest_of(state: State) -> Iterator[Credential]:
    """All credentials of a state, newest first."""
    return iter(sorted(state.credentials.values(), key=lambda one: one.id, reverse=True))
