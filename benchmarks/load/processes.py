"""Information from Linux about processes, and the cores that they run on."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Fields of /proc/<pid>/stat after the name in parentheses, counted from the state; see proc(5).
_OWN_TIMES = slice(11, 13)
_ENDED_TIMES = slice(13, 15)


def _fields(process: int) -> list[str]:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def children(process: int) -> list[int]:
    """The running child processes of a process."""
    try:
        listed = Path(f"/proc/{process}/task/{process}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(child) for child in listed.split()]


def workers_cpu_seconds(master: int) -> float:
    """CPU seconds of a process's children, user and system, including those that have ended."""
    ticks = sum(map(int, _fields(master)[_ENDED_TIMES]))
    for worker in children(master):
        try:
            ticks += sum(map(int, _fields(worker)[_OWN_TIMES]))
        except (FileNotFoundError, ProcessLookupError):
            # It has just ended, and its parent will count it.
            continue
    return ticks * _TICK


@dataclass(frozen=True)
class Held:
    """The resources of a process: own and shared memory in bytes, and file descriptors."""

    resident: int
    private: int
    descriptors: int


def held(process: int) -> Held:
    """The present resources. ``private`` excludes shared memory and mapped files."""
    _, resident, shared, *_ = map(int, Path(f"/proc/{process}/statm").read_text().split())
    descriptors = len(os.listdir(f"/proc/{process}/fd"))
    return Held(resident * _PAGE, (resident - shared) * _PAGE, descriptors)


@dataclass(frozen=True)
class Cores:
    """The cores of server and client; None for any core."""

    server: frozenset[int] | None
    client: frozenset[int] | None

    @classmethod
    def apart(cls) -> Cores:
        """The client on the first core and the server on the others, if there are at least two."""
        first, *rest = sorted(os.sched_getaffinity(0))
        return cls(frozenset(rest), frozenset([first])) if rest else cls(None, None)

    @classmethod
    def together(cls) -> Cores:
        """Both on any core."""
        return cls(None, None)


@contextmanager
def running_on(cores: Collection[int] | None) -> Iterator[None]:
    """Run the processes that this thread starts within the block on these cores."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
