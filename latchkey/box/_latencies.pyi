from typing import final

from _typeshed import WriteableBuffer

LATENCY_BOUNDS: tuple[int, ...]
LATENCY_SIZE: int

@final
class Latencies:
    def __init__(self, memory: WriteableBuffer, *, alone: bool = False) -> None: ...
    def series(self) -> dict[tuple[str | None, int], tuple[int, ...]]: ...
    def observe(self, endpoint: str | None, status: int, duration: int) -> None: ...
