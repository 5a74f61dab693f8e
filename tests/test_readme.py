"""The first screen of the README: its claims agree with the published measurements."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BENCHMARKS = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")

# A number, with its unit, of a claim.
_FIGURE = re.compile(r"\b\d[\d.,]*\d\b")


def claims() -> list[str]:
    """The claims about measurements, one per item of the list, without their links."""
    items = re.findall(r"^- .*docs/benchmarks\.md.*$", README, re.MULTILINE)
    return [re.sub(r"\]\([^)]*\)", "]", item) for item in items]


def test_each_figure_of_the_readme_is_a_published_one() -> None:
    published = set(_FIGURE.findall(BENCHMARKS))
    figures = {figure for claim in claims() for figure in _FIGURE.findall(claim)}
    assert len(figures) >= 6
    assert figures <= published, figures - published


def test_the_readme_is_short_enough_for_a_first_screen() -> None:
    """Everything up to the first section: three sentences, six lines of code, two commands."""
    first, _ = README.split("\n## ", 1)
    sentences = first.split("\n\n")[1].replace("\n", " ")
    assert len(re.findall(r"\.(?: |$)", sentences)) == 3
    code, commands = re.findall(r"^```(?:python|sh)[^\n]*\n(.*?)^```$", first, re.M | re.S)
    assert [len([line for line in block.splitlines() if line]) for block in (code, commands)] == [
        6,
        2,
    ]
    assert len(re.findall(r"<img ", first)) == 1
    assert len(first.splitlines()) <= 42
