"""Counts the instructions of one call, which other load on the machine does not change.

Each subject is called N times and then 2N times. The difference divided by N is one call; the cost
of everything around the calls cancels out. Under callgrind (valgrind), one process does this for
all subjects, with a system call around each series of calls at which callgrind writes its count.
Under perf, each count is that of a whole process.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.overhead.results import BARE
from benchmarks.processes import run

Subjects = Mapping[str, Sequence[str]]
"""Names of subjects, by series."""

Counts = dict[str, dict[str, float]]
"""Instructions of one call, by series and subject."""

SUBJECTS: Subjects = {
    "hits": (BARE, "bearer", "pair"),
    "limits": (BARE, "rate, bearer", "rate and quota"),
    "ways": (
        *("shared cache", "forged pair", "unknown key", "miss"),
        *("networks and endpoints", "Python path", "cachetools backend"),
    ),
    "flask": (BARE, "check", "check, metrics", "check, metrics, requirement"),
    "peers": ("before_request, TTLCache", "Flask-HTTPAuth, TTLCache", "Flask-HTTPAuth, SQLite"),
}

MARK = "getpgid"
"""A function of the C library that nothing else calls here."""

PERF_EVENT = "instructions:u"

_SHOW_DIGEST = "from fastcache.shared import KeyedDigest; print(KeyedDigest.algorithm)"


class NoTool(RuntimeError):
    """This machine has no tool that counts instructions; the message lists what was tried."""


@dataclass(frozen=True)
class Tool:
    """What counts."""

    name: str
    version: str


def find_tool() -> Tool:
    """Perf, if it can read the processor's counters; otherwise callgrind. Raises NoTool."""
    absent = []
    if shutil.which("perf") is None:
        absent.append("perf is not installed")
    elif count_by_perf([sys.executable, "-c", ""], PERF_EVENT) is None:
        absent.append("perf cannot read the processor's counters")
    else:
        return Tool("perf", _version("perf"))
    if shutil.which("valgrind") is None:
        raise NoTool(", ".join([*absent, "valgrind is not installed"]))
    return Tool("valgrind", _version("valgrind"))


def count(tool: Tool, calls: int, subjects: Subjects = SUBJECTS) -> Counts:
    """Instructions of one call of each subject, from `calls` calls and twice as many."""
    if tool.name == "valgrind":
        return _by_callgrind(calls, subjects)
    return {
        series: {name: _by_perf(calls, series, name) for name in names}
        for series, names in subjects.items()
    }


def _by_callgrind(calls: int, subjects: Subjects) -> Counts:
    with tempfile.TemporaryDirectory() as directory:
        blocks = dump_at_marks(_worker(calls, subjects), Path(directory))
    # For each subject there are preparations, then its calls, then twice as many.
    counted = iter(blocks)
    found: Counts = {}
    for series, names in subjects.items():
        found[series] = {}
        for name in names:
            _, once, twice = next(counted), next(counted), next(counted)
            found[series][name] = (twice - once) / calls
    return found


def digest_under(tool: Tool) -> str:
    """The digest algorithm under the tool: callgrind hides some processor instructions."""
    under = ["valgrind", "--tool=none"] if tool.name == "valgrind" else []
    return run([*under, sys.executable, "-c", _SHOW_DIGEST]).strip()


def dump_at_marks(command: Sequence[str], directory: Path) -> list[int]:
    """Run a command under callgrind; returns the instructions between successive `MARK`s."""
    dump = directory / "dump"
    tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={dump}"]
    # Some builds of the C library have the function under its other name.
    tool += [f"--dump-before={name}" for name in (MARK, f"__{MARK}")]
    run([*tool, *command])
    places = sorted(int(path.suffix[1:]) for path in directory.glob("dump.*"))
    return [_total(dump.with_suffix(f".{place}")) for place in places]


def _total(path: Path) -> int:
    found = re.search(r"^totals: (\d+)$", path.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{path.name} has no total")
    return int(found[1])


def _by_perf(calls: int, series: str, name: str) -> float:
    once, twice = (
        count_by_perf(_worker(times * calls, {series: [name]}, rounds=1), PERF_EVENT)
        for times in (1, 2)
    )
    if once is None or twice is None:
        raise RuntimeError("perf can no longer read the processor's counters")
    return (twice - once) / calls


def count_by_perf(command: Sequence[str], event: str) -> float | None:
    """How often an event occurred in a command; ``None`` if perf cannot count it."""
    done = run(["perf", "stat", "-x;", "-e", event, "-o", "/dev/stdout", *command])
    for line in done.splitlines():
        figure, _, rest = line.partition(";")
        if f";{event};" in f";{rest}":
            return None if figure.startswith("<") else float(figure)
    return None


def _worker(calls: int, subjects: Subjects, rounds: int = 2) -> list[str]:
    job = json.dumps({"calls": calls, "rounds": rounds, "subjects": subjects})
    return [sys.executable, "-m", "benchmarks.overhead.counted", job]


def _version(tool: str) -> str:
    said = run([tool, "--version"])
    return said.strip().removeprefix(tool).strip(" -").removeprefix("version ")
