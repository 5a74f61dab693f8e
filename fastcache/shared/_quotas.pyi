from typing import NamedTuple, final

from _typeshed import WriteableBuffer

@final
class Quota:
    def __init__(self, row: int, generation: int, amount: int | None = None) -> None: ...
    @property
    def row(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def amount(self) -> int | None: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

class QuotaState(NamedTuple):
    epoch_tag: int
    spent: int
    granted: int
    generation: int
    until_day: int
    elsewhere: int

@final
class QuotaTable:
    def __init__(
        self,
        rows: int,
        *,
        memory: WriteableBuffer | None = None,
        backed: WriteableBuffer | None = None,
    ) -> None: ...
    @property
    def rows(self) -> int: ...
    @property
    def backed_rows(self) -> int: ...
    def spend(self, quota: Quota, cost: int, day: int) -> bool | None: ...
    def publish(
        self,
        row: int,
        epoch: int,
        generation: int,
        granted: int,
        until_day: int,
        elsewhere: int = 0,
    ) -> tuple[int, int] | None: ...
    def state(self, row: int) -> QuotaState: ...
