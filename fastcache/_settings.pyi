from collections.abc import Callable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, final

@final
class CacheSettings:
    def __init__(
        self,
        maxsize: float,
        getsizeof: Callable[[Any], float] | None = None,
        ttl: float | timedelta | None = None,
        timer: Callable[[], float] | Callable[[], datetime] | None = None,
    ) -> None: ...

# The time has the type that the cache's timer returns.
@final
class Timer:
    def __init__(self, settings: CacheSettings) -> None: ...
    def __call__(self) -> Any: ...
    def __enter__(self) -> Any: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def __getattr__(self, name: str) -> Any: ...
