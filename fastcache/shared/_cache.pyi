from typing import final

from _typeshed import WriteableBuffer

from fastcache.shared._table import SharedTable
from fastcache.shared.entry import SharedCacheStats, SharedEntry

@final
class SharedCache(SharedTable):
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
    def get(self, key: str | bytes, /) -> SharedEntry | None: ...
    def put(self, key: str | bytes, value: bytes, *, ticket: int, deadline: int) -> bool: ...
    def clear(self) -> None: ...
    def stats(self) -> SharedCacheStats: ...
