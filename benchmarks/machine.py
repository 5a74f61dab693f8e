"""What a result was measured on and with. Nothing that names the machine, its user or its paths."""

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
    """Size of each of the first core's caches."""
    memory_gib: float
    virtual: bool
    """Whether the processor says that it is a virtual machine's."""
    system: str
    """Kernel, architecture and C library."""
    details: dict[str, str]
    """More that pyperf reads before the run: load, frequency, clock, address layout."""


class Source(BaseModel):
    """The state of the checkout that was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commit: str
    """Abbreviated, with a ``+`` where the working tree held changes."""


# What decides the figures: results and prose may change without them.
_MEASURED = (
    *("benchmarks/*.py", "app", "fastcache", "latchkey"),
    *("setup.py", "pyproject.toml", "constraints.txt"),
)


def describe_source(root: Path) -> Source:
    """Ask git about the checkout at `root`."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", *_MEASURED)
    return Source(commit=git("rev-parse", "--short=10", "HEAD") + ("+" if changed else ""))


def available_bytes() -> int:
    """Memory that programs can take now, in bytes."""
    found = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.M)
    if found is None:
        raise RuntimeError("/proc/meminfo has no line 'MemAvailable'")
    return int(found[1]) * 1024
