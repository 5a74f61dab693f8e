from typing import NamedTuple, final

from _typeshed import WriteableBuffer

from fastcache._stats import SharedCacheStats

class SharedEntry(NamedTuple):
    value: bytes
    ticket: int
    deadline: int

@final
class SharedCache:
    def __init__(
        self,
        memory: WriteableBuffer | None = None,
        *,
        slot_size: int | None = None,
        ways: int | None = None,
        size: int | None = None,
    ) -> None: ...
    @staticmethod
    def format(
        memory: WriteableBuffer, *, slot_size: int | None = None, ways: int | None = None
    ) -> None: ...
    @property
    def slot_size(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    def get(self, key: str | bytes, /) -> SharedEntry | None: ...
    def put(self, key: str | bytes, value: bytes, *, ticket: int, deadline: int) -> bool: ...
    def clear(self) -> None: ...
    def stats(self) -> SharedCacheStats: ...
