"""The reference for the tests of fastcache: plain lists, without optimisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(eq=False)
class Item:
    """One item of the reference."""

    key: Hashable
    value: Any
    size: float
    deadline: float


class ReferenceCache:
    """The specified behaviour of LRUCache (`timer` None) and TTLCache, in the simplest form."""

    def __init__(
        self,
        maxsize: float,
        ttl: float = math.inf,
        timer: Callable[[], float] | None = None,
        getsizeof: Callable[[Any], float] | None = None,
    ) -> None:
        self.maxsize = maxsize
        self.ttl = ttl
        self.timed = timer is not None
        self.timer = timer or (lambda: 0.0)
        self.getsizeof = getsizeof or (lambda value: 1)
        self.by_use: list[Item] = []
        self.by_birth: list[Item] = []
        self.hits = self.misses = self.evictions = self.expirations = 0

    def _find(self, key: Hashable) -> Item | None:
        return next((item for item in self.by_use if item.key == key), None)

    def _live(self, key: Hashable) -> Item | None:
        item = self._find(key)
        return item if item is not None and self.timer() < item.deadline else None

    def _remove(self, item: Item) -> None:
        self.by_use.remove(item)
        self.by_birth.remove(item)

    def _lookup(self, key: Hashable) -> Item | None:
        item = self._live(key)
        if item is None:
            self.misses += 1
            return None
        self.hits += 1
        self.by_use.remove(item)
        self.by_use.append(item)
        return item

    def size(self) -> float:
        """The sum of the sizes, including expired items."""
        return sum(item.size for item in self.by_use)

    def expire(self, time: float | None = None) -> list[tuple[Hashable, Any]]:
        now = self.timer() if time is None else time
        expired = [item for item in self.by_birth if not now < item.deadline]
        expired.sort(key=lambda item: item.deadline)
        for item in expired:
            self._remove(item)
        self.expirations += len(expired)
        return [(item.key, item.value) for item in expired]

    def get(self, key: Hashable, default: Any = None) -> Any:
        item = self._lookup(key)
        return default if item is None else item.value

    def __getitem__(self, key: Hashable) -> Any:
        item = self._lookup(key)
        if item is None:
            raise KeyError(key)
        return item.value

    def __contains__(self, key: Hashable) -> bool:
        return self._live(key) is not None

    def __setitem__(self, key: Hashable, value: Any) -> None:
        self.set(key, value)

    def set(self, key: Hashable, value: Any, *, ttl: float | None = None) -> None:
        ttl = self.ttl if ttl is None else ttl
        size = self.getsizeof(value)
        now = self.timer()
        self.expire(now)
        if size > self.maxsize:
            raise ValueError("value too large")
        item = self._find(key)
        if not now < now + ttl:
            # It would have expired at once.
            if item is not None:
                self._remove(item)
                self.expirations += 1
            return
        while self.size() - (item.size if item else 0) + size > self.maxsize:
            self._remove(self.by_use[0])
            self.evictions += 1
            item = self._find(key)
        if item is None:
            item = Item(key, value, size, now + ttl)
            self.by_birth.append(item)
        else:
            self.by_use.remove(item)
            item.value, item.size, item.deadline = value, size, now + ttl
            if self.timed:
                self.by_birth.remove(item)
                self.by_birth.append(item)
        self.by_use.append(item)

    def get_many(self, keys: Iterable[Hashable]) -> dict[Hashable, Any]:
        found = ((key, self._lookup(key)) for key in keys)
        return {key: item.value for key, item in found if item is not None}

    def set_many(self, items: Iterable[tuple[Hashable, Any]]) -> None:
        for key, value in items:
            self[key] = value

    def __delitem__(self, key: Hashable) -> None:
        item = self._find(key)
        if item is None:
            raise KeyError(key)
        expired = not self.timer() < item.deadline
        self._remove(item)
        if expired:
            self.expirations += 1
            raise KeyError(key)

    def pop(self, key: Hashable, default: Any) -> Any:
        item = self._lookup(key)
        if item is None:
            return default
        self._remove(item)
        return item.value

    def setdefault(self, key: Hashable, default: Any = None) -> Any:
        item = self._lookup(key)
        if item is not None:
            return item.value
        self[key] = default
        return default

    def popitem(self) -> tuple[Hashable, Any]:
        self.expire()
        if not self.by_use:
            raise KeyError("empty")
        item = self.by_use[0]
        self._remove(item)
        return (item.key, item.value)

    def clear(self) -> None:
        self.by_use.clear()
        self.by_birth.clear()

    def live_items(self) -> list[tuple[Hashable, Any]]:
        """Items in the order of iteration."""
        now = self.timer()
        return [(item.key, item.value) for item in self.by_birth if now < item.deadline]
