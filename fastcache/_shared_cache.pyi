from typing import final

from _typeshed import WriteableBuffer

from fastcache._shared_entry import SharedEntry
from fastcache._shared_table import SharedTable
from fastcache._stats import SharedCacheStats

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
