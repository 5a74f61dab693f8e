from collections.abc import Callable
from typing import NamedTuple, final

from _typeshed import WriteableBuffer

@final
class Rate:
    def __init__(self, row: int, interval: int, burst: int) -> None: ...
    @property
    def row(self) -> int: ...
    @property
    def interval(self) -> int: ...
    @property
    def burst(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

class Taken(NamedTuple):
    at: int
    refused_by: int | None = None
    wait: int | None = None

class Level(NamedTuple):
    remaining: int
    full_in: int

@final
class RateTable:
    def __init__(
        self,
        rows: int,
        *,
        memory: WriteableBuffer | None = None,
        backed: WriteableBuffer | None = None,
        timer: Callable[[], int] | None = None,
    ) -> None: ...
    @property
    def rows(self) -> int: ...
    @property
    def backed_rows(self) -> int: ...
    def take(self, rates: tuple[Rate, ...], cost: int = 1) -> Taken: ...
    def level(self, rate: Rate) -> Level: ...
    def reset(self, row: int) -> None: ...
