from typing import final

from _typeshed import WriteableBuffer

from fastcache.shared._words import Words

@final
class WindowTable(Words):
    def __init__(self, slots: int = 4096, *, memory: WriteableBuffer | None = None) -> None: ...
    def hit(self, key_hash: int, window: int, limit: int) -> int: ...
    def count(self, key_hash: int, window: int) -> int: ...
