from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import overload

from fastcache._cache import _K, _V, Cache
from fastcache._settings import Timer

class LRUCache(Cache[_K, _V]):
    def __init__(
        self,
        maxsize: float,
        getsizeof: Callable[[_V], float] | None = None,
        *,
        shards: int = 1,
    ) -> None: ...
    def set_many(self, items: Mapping[_K, _V] | Iterable[tuple[_K, _V]], /) -> None: ...

class TTLCache(Cache[_K, _V]):
    @overload
    def __init__(
        self,
        maxsize: float,
        ttl: float,
        timer: Callable[[], float] = ...,
        getsizeof: Callable[[_V], float] | None = None,
        *,
        shards: int = 1,
    ) -> None: ...
    @overload
    def __init__(
        self,
        maxsize: float,
        ttl: timedelta,
        timer: Callable[[], datetime],
        getsizeof: Callable[[_V], float] | None = None,
        *,
        shards: int = 1,
    ) -> None: ...
    def set(self, key: _K, value: _V, *, ttl: float | timedelta | None = None) -> None: ...
    def set_many(
        self,
        items: Mapping[_K, _V] | Iterable[tuple[_K, _V]],
        /,
        *,
        ttl: float | timedelta | None = None,
    ) -> None: ...
    @property
    def ttl(self) -> float | timedelta: ...
    @property
    def timer(self) -> Timer: ...
    def expire(self, time: float | datetime | None = None) -> list[tuple[_K, _V]]: ...
