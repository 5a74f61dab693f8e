"""The extent of the measurements."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

SELECT, MISS = "SELECT", "miss"
HIT, HIT_SQLITE = "hit", "hit, SQLite"
BOXES = 3
WORKERS = 2


@dataclass(frozen=True)
class BoxesSettings:
    """The counts and seconds of a run."""

    credentials: int = 10_000
    """Credentials in the database; misses present them in turn."""
    hot: int = 64
    """Credentials that hits present in turn."""
    processes: int = 12
    """Measuring processes, one after another."""
    rounds: int = 20
    calls: int = 200
    """The number of single calls of each subject in a round; of hits, ten times as many."""
    revocations: int = 1_000
    """With every box healthy."""
    cut_off: int = 12
    """With one box stopped, which is continued after each."""
    lease: float = 5.0
    """Seconds: the default of the setting."""


FULL = BoxesSettings()
QUICK = BoxesSettings(
    credentials=500, processes=1, rounds=4, calls=50, revocations=20, cut_off=1, lease=1.0
)


@dataclass(frozen=True)
class CallsJob:
    """The measurements of one process: single calls over databases with the same credentials."""

    postgresql: str
    sqlite: str
    """URLs of the databases."""
    key_file: str
    directory: str
    """Of files that belong to a box."""
    credentials: int
    hot: int
    rounds: int
    calls: int
    seed: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> CallsJob:
        return cls(**json.loads(text))
