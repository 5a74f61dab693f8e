"""The pages of docs/reference/, in parts."""

from __future__ import annotations

import re
from pathlib import Path

REFERENCE = Path(__file__).parents[3] / "docs/reference"


def text(name: str) -> str:
    return (REFERENCE / name).read_text("utf-8")


def sections(page: str, heading: str) -> dict[str, str]:
    """The text below each heading that matches, up to the next heading of any level."""
    found = re.split(r"^(#+ .*)$", text(page), flags=re.MULTILINE)
    return {
        match[1]: below
        for title, below in zip(found[1::2], found[2::2], strict=True)
        if (match := re.fullmatch(heading, title))
    }


def rows(section: str) -> list[list[str]]:
    """The cells of each row of the section's tables, without the heads."""
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE):
        lines = table.splitlines()[2:]
        found += [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return found
