from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, final

@final
class Settings:
    def __init__(
        self,
        maxsize: float,
        getsizeof: Callable[[Any], float] | None = None,
        ttl: float | timedelta | None = None,
        timer: Callable[[], float] | Callable[[], datetime] | None = None,
    ) -> None: ...
