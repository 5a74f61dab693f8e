"""The machine and the source of a result, without names of the machine, its user or its paths."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Machine(BaseModel):
    """The hardware and the system."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu: str
    cores: int
    """Cores that the run may use."""
    caches: dict[str, str]
    """The size of each cache of the first core."""
    memory_gib: float
    virtual: bool
    """Whether the processor reports a virtual machine."""
    system: str
    """Kernel, architecture and C library."""
    details: dict[str, str]
    """Further details from pyperf before the run: load, frequency, clock, address layout."""


class Source(BaseModel):
    """The state of the checkout that was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commit: str
    """Abbreviated, with a ``+`` if the working tree had changes."""


# Only these files affect the figures; results and prose do not.
_MEASURED = (
    *("benchmarks/*.py", "app", "fastcache", "latchkey"),
    *("setup.py", "pyproject.toml", "constraints.txt"),
)


def describe_source(root: Path) -> Source:
    """Read the state of the checkout at `root` from git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", *_MEASURED)
    return Source(commit=git("rev-parse", "--short=10", "HEAD") + ("+" if changed else ""))


def available_bytes() -> int:
    """The memory that is available to programs now, in bytes."""
    found = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.M)
    if found is None:
        raise RuntimeError("/proc/meminfo has no line 'MemAvailable'")
    return int(found[1]) * 1024
