from collections.abc import Iterator
from typing import Any, final

@final
class Cursor(Iterator[Any]):
    def __iter__(self) -> Cursor: ...
    def __next__(self) -> Any: ...
