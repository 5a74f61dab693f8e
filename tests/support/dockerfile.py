"""The instructions of deploy/Dockerfile."""

from __future__ import annotations

import re
from pathlib import Path

DOCKERFILE = Path(__file__).parents[2] / "deploy" / "Dockerfile"

Instructions = list[tuple[str, str]]


def instructions(text: str) -> list[Instructions]:
    """The instructions of each stage, without comments, each in one line."""
    text = re.sub(r"(?m)^\s*#.*\n", "", text).replace("\\\n", " ")
    stages: list[Instructions] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, " ".join(rest.split())))
    return stages


BUILD, FINAL = instructions(DOCKERFILE.read_text("utf-8"))


def last(name: str) -> str:
    """The argument of an instruction that the last stage has once."""
    (found,) = [rest for instruction, rest in FINAL if instruction == name]
    return found
