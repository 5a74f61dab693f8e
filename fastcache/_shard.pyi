from typing import final

from fastcache._settings import Settings

@final
class Shard:
    def __init__(
        self, settings: Settings, capacity: float, sized: bool, reborn: bool, watched: bool
    ) -> None: ...
