"""The sentences of docs/reference/fastcache.md, and the tests that check them."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[3]
PATH = ROOT / "docs/reference/fastcache.md"

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
    """Mark a test as the check of these sentences of the document."""
    return lambda test: test


def held() -> list[str]:
    """The sentences that tests are marked with, read from their source."""
    found = []
    for path in (ROOT / "tests/fastcache").glob("test_document*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for each in node.decorator_list:
                    if isinstance(each, ast.Call) and ast.unparse(each.func) == "holds":
                        found += [str(ast.literal_eval(text)) for text in each.args]
    return found
