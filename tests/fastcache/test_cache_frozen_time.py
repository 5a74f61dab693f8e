"""freezegun's time.monotonic as a timer: items expire as with cachetools."""

from __future__ import annotations

import time
from typing import Any

import freezegun
import pytest

from tests.support.fastcache.cache_kinds import TIMED_KINDS, Kind


@pytest.mark.parametrize("kind", TIMED_KINDS, ids=str)
def test_items_expire_by_a_frozen_clock(kind: Kind) -> None:
    with freezegun.freeze_time("2030-01-01") as frozen:
        cache: Any = kind.base(10, 60, timer=time.monotonic)
        cache[1] = 1
        frozen.tick(59)
        assert cache.get(1) == 1
        frozen.tick(2)
        assert cache.get(1) is None
        assert len(cache) == 0


@pytest.mark.parametrize("kind", TIMED_KINDS, ids=str)
def test_the_default_timer_is_the_system_clock(kind: Kind) -> None:
    with freezegun.freeze_time("2030-01-01") as frozen:
        cache: Any = kind.base(10, 60)
        cache[1] = 1
        frozen.tick(3600)
        assert cache.get(1) == 1
