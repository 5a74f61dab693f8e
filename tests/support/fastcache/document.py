"""The sentences of docs/fastcache.md, and which test holds which."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

PATH = Path(__file__).parents[3] / "docs" / "fastcache.md"

HELD: dict[str, str] = {}
"""Sentences, and the names of the tests that hold them."""

Test = TypeVar("Test", bound=Callable[..., Any])


def sentences() -> list[str]:
    """All sentences outside code blocks and headings: of paragraphs, list items and table rows.

    A table row begins with its name and a colon.
    """
    text = re.sub(r"^```.*?^```$", "", PATH.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    units: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        if block.startswith(("#", "    ")) or not block.strip():
            continue
        if block.startswith("|"):
            rows = [row.strip("| ").split(" | ") for row in block.splitlines()[2:]]
            units += [": ".join(row) for row in rows]
            continue
        units += re.split(r"\n\s*- |\A- ", block)
    found = []
    for unit in units:
        plain = " ".join(unit.split())
        found += re.split(r"(?<=\.) (?=[A-Z`])", plain) if plain else []
    return found


def holds(*texts: str) -> Callable[[Test], Test]:
    """Mark a test as the one that shows these sentences of the document."""

    def mark(test: Test) -> Test:
        for text in texts:
            HELD[text] = test.__name__
        return test

    return mark
