from typing import final

from _typeshed import WriteableBuffer

from fastcache.shared._words import Words

@final
class BloomFilter(Words):
    def __init__(self, bits: int = 4194304, *, memory: WriteableBuffer | None = None) -> None: ...
    def __contains__(self, digest: bytes, /) -> bool: ...
    def add(self, digest: bytes, /) -> None: ...
