"""The requests for each service, and their duration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.load.requesting import Scenario
from benchmarks.load.service import Application

HOT = 1_000
MANY = 100_000


@dataclass(frozen=True)
class LoadSettings:
    """The duration of the measurements."""

    main_seconds: int = 480
    """Seconds of each of the main scenario's two runs."""
    main_requests: int = 450_000
    """Requests after which such a run ends, if that is earlier: 150,000 of each of three arms."""
    concurrent_seconds: int = 30
    seconds: int = 25
    """Seconds of every other scenario."""
    ceiling_seconds: int = 12
    requests: int = 0
    """Requests after which each client process of those ends, if that is earlier; 0: no limit."""
    warm_seconds: int = 2
    """Complete seconds that are discarded, after the first, incomplete one."""
    many: int = MANY
    fresh: int = 60_000
    """Credentials that may be presented once, or revoked, in each scenario that does this."""
    recycle_pause: float = 6
    """Seconds between two replacements of all workers."""


FULL = LoadSettings()
QUICK = LoadSettings(
    main_seconds=2,
    concurrent_seconds=1,
    seconds=1,
    ceiling_seconds=1,
    warm_seconds=0,
    many=5_000,
    fresh=5_000,
    recycle_pause=1,
)

MAIN_USERS = 1
"""One client: no request waits for another, so a difference is not hidden by waiting."""
USERS = 8
"""Clients of every other scenario: more than the threads of one worker."""


@dataclass(frozen=True)
class Step:
    """One scenario."""

    name: str
    about: str
    scenario: Scenario
    keys: int
    fresh: bool = False
    recycled: bool = False
    """Whether all workers are replaced repeatedly during the step."""


@dataclass(frozen=True)
class Group:
    """Scenarios for one service, one after another."""

    steps: tuple[Step, ...]
    settings: Mapping[str, object] = field(default_factory=dict)
    application: Application = "service"


def groups(settings: LoadSettings) -> list[Group]:
    """The scenarios except the main one. Fresh credentials are numbered after the known ones."""
    many = settings.many
    return [
        Group(
            (
                Step("hits, 1 key", "every request presents the same key", "hits", 1),
                Step("hits, 1,000 keys", "1,000 keys by Zipf's law", "hits", HOT),
                Step(f"hits, {many:,} keys", f"{many:,} keys by Zipf's law", "hits", many),
                Step(
                    "forged", "half of the requests are forged secrets of known keys", "forged", HOT
                ),
                Step("misses", "no key is presented twice", "misses", 1, fresh=True),
            )
        ),
        Group(
            (
                Step(
                    "recycled",
                    "all workers are replaced every few seconds",
                    "hits",
                    HOT,
                    recycled=True,
                ),
                Step(
                    "revocations",
                    "10 revocations a second of keys in use",
                    "revocations",
                    HOT,
                    fresh=True,
                ),
            ),
            {"workers": 2},
        ),
        Group(
            (Step("shared hits", "the worker's own cache holds one entry", "hits", HOT),),
            {"cache_size": 1},
        ),
        Group(
            (Step("cachetools", "the `cachetools` backend", "hits", HOT),),
            {"cache_backend": "cachetools"},
        ),
        Group(
            (
                Step(
                    "no cache",
                    "a SELECT for each request, or for those that ask for one key at once",
                    "hits",
                    HOT,
                ),
            ),
            {"cache_backend": "none"},
        ),
    ]
