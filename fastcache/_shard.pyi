from typing import final

from fastcache._settings import CacheSettings

@final
class Shard:
    def __init__(
        self, settings: CacheSettings, capacity: float, sized: bool, reborn: bool, watched: bool
    ) -> None: ...
