"""A clock that tests move by hand."""

from __future__ import annotations


class Clock:
    """Callable that gives its `time`; `step` is added after each call."""

    def __init__(self, time: float = 0.0, step: float = 0.0) -> None:
        self.time = time
        self.step = step

    def __call__(self) -> float:
        time = self.time
        if self.step:
            # Not without need: several threads may be reading it.
            self.time += self.step
        return time

    def tick(self, by: float = 1.0) -> None:
        """Move the clock."""
        self.time += by
