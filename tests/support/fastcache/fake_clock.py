"""A clock that tests control."""

from __future__ import annotations


class Clock:
    """A callable that returns `time`; `step` is added after each call."""

    def __init__(self, time: float = 0.0, step: float = 0.0) -> None:
        self.time = time
        self.step = step

    def __call__(self) -> float:
        time = self.time
        if self.step:
            # Only if needed: several threads may be reading it.
            self.time += self.step
        return time

    def tick(self, by: float = 1.0) -> None:
        """Advance the clock."""
        self.time += by
