"""What Linux says of processes, and on which cores they run."""

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
    """The processes that this one started and that run now."""
    try:
        listed = Path(f"/proc/{process}/task/{process}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(child) for child in listed.split()]


def workers_cpu_seconds(master: int) -> float:
    """CPU that the children of a process have used, user and system, those that ended included."""
    ticks = sum(map(int, _fields(master)[_ENDED_TIMES]))
    for worker in children(master):
        try:
            ticks += sum(map(int, _fields(worker)[_OWN_TIMES]))
        except (FileNotFoundError, ProcessLookupError):
            # It has just ended, and its parent is about to count it.
            continue
    return ticks * _TICK


@dataclass(frozen=True)
class Held:
    """What a process holds: memory in bytes that is its own or shared, and file descriptors."""

    resident: int
    private: int
    descriptors: int


def held(process: int) -> Held:
    """What it holds now. ``private`` leaves out what lies in shared memory and mapped files."""
    _, resident, shared, *_ = map(int, Path(f"/proc/{process}/statm").read_text().split())
    descriptors = len(os.listdir(f"/proc/{process}/fd"))
    return Held(resident * _PAGE, (resident - shared) * _PAGE, descriptors)


@dataclass(frozen=True)
class Cores:
    """Which cores server and client run on; None for each of them where they want."""

    server: frozenset[int] | None
    client: frozenset[int] | None

    @classmethod
    def apart(cls) -> Cores:
        """The client on the first core and the server on the others, if there are two at least."""
        first, *rest = sorted(os.sched_getaffinity(0))
        return cls(frozenset(rest), frozenset([first])) if rest else cls(None, None)

    @classmethod
    def together(cls) -> Cores:
        """Wherever the system puts them."""
        return cls(None, None)


@contextmanager
def running_on(cores: Collection[int] | None) -> Iterator[None]:
    """Whatever this thread starts within the block runs on these cores."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
