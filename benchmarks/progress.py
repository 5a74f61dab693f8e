"""Shows the progress of a run: the part, its step, the elapsed and the remaining time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from benchmarks.parts import PartName, Report


@dataclass
class Course:
    """The parts of a run in their order, and how long each is expected to take."""

    names: Sequence[PartName]
    expected: Mapping[PartName, float] = field(default_factory=dict)
    """Seconds that each part took in an earlier complete run; empty if there was none."""
    timer: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._begun = self.timer()
        self._part_begun = self._begun

    def begin(self, name: PartName) -> None:
        """Record that this part starts now."""
        self._name = name
        self._part_begun = self.timer()

    @property
    def part(self) -> str:
        """The current part and its position."""
        return f"part {self.names.index(self._name) + 1} of {len(self.names)}, {self._name}"

    @property
    def elapsed(self) -> float:
        """Seconds since the start of the run."""
        return self.timer() - self._begun

    def left(self, done: int, steps: int) -> float | None:
        """The expected remaining seconds of the run; None if they cannot be estimated.

        ``done`` of the ``steps`` of the current part are finished.
        """
        taken = self.timer() - self._part_begun
        later = self.names[self.names.index(self._name) + 1 :]
        if any(name not in self.expected for name in later):
            return None
        rest = sum(self.expected[name] for name in later)
        if self._name in self.expected:
            return rest + max(0.0, self.expected[self._name] - taken)
        return rest + taken / done * (steps - done) if done else None


@contextmanager
def shown(course: Course, name: PartName, console: Console) -> Iterator[Report]:
    """Show the progress of a part: one line that changes, or a line for each step.

    The line changes if the console is a terminal. Yields the function for reporting steps.
    """
    course.begin(name)
    if not console.is_terminal:

        def write(done: int, steps: int, what: str) -> None:
            times = _times(course, done, steps)
            console.print(
                f"{course.part}: {done}/{steps}, {what}; {times}", highlight=False, soft_wrap=True
            )

        yield write
        return
    with Progress(
        TextColumn("{task.description:<56}"), BarColumn(), _Times(course), console=console
    ) as progress:
        task = progress.add_task(course.part, total=None)

        def move(done: int, steps: int, what: str) -> None:
            description = f"{course.part}: {what}"
            progress.update(task, completed=done, total=steps, description=description)

        yield move


class _Times(ProgressColumn):
    """The number of finished steps, and the times."""

    def __init__(self, course: Course) -> None:
        super().__init__()
        self._course = course

    def render(self, task: Task) -> Text:
        done, steps = int(task.completed), int(task.total or 0)
        return Text(f"{done}/{steps}; {_times(self._course, done, steps)}")


def _times(course: Course, done: int, steps: int) -> str:
    left = course.left(done, steps)
    said = f"{_clock(course.elapsed)} elapsed"
    return said if left is None else f"{said}, about {_clock(left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
