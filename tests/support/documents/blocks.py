"""The fenced blocks of the Markdown files, with the tags in their info strings.

The info string is a language, then one tag: ``run``, ``serve``, ``output``, ``check=PROGRAM`` or
``show``. ``run`` takes options: ``exit=STATUS`` where a command is meant to fail, and ``stopped``
where the reader has stopped the servers that earlier blocks started.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[3]
TAGS = frozenset({"run", "serve", "output", "check", "show"})
_OPTIONS = {"run": frozenset({"exit", "stopped"}), "serve": frozenset({"stopped"})}

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
TEXTS = {str(page.relative_to(ROOT)): page.read_text("utf-8") for page in PAGES}


@dataclass(frozen=True)
class Block:
    """One fenced block; ``line`` is the line of its fence."""

    page: str
    line: int
    language: str
    tag: str
    options: dict[str, str]
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def first_line(self) -> str:
        """The line by which a block is named where it is listed."""
        return self.text.strip().split("\n", 1)[0].strip()


class BadBlock(ValueError):
    """A block without a tag, with an unknown one, or indented in place of fenced."""


def blocks(page: str, text: str) -> list[Block]:
    """The blocks of a page's text. Raises BadBlock, which names each that is wrong."""
    found, wrong = [], []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        line = (token.map or [0])[0] + 1
        if token.type == "code_block":
            wrong.append(f"{page}:{line} is indented: use a fenced block with a tag")
        elif token.type == "fence":
            language, *words = token.info.split() or [""]
            given = [(name, value) for name, _, value in (word.partition("=") for word in words)]
            tags = [(name, value) for name, value in given if name in TAGS]
            if len(tags) != 1 or not language:
                wrong.append(f"{page}:{line} has no tag: {token.info!r}")
                continue
            ((tag, value),) = tags
            options = {name: each for name, each in given if name != tag}
            if unknown := options.keys() - _OPTIONS.get(tag, frozenset()):
                wrong.append(f"{page}:{line} has unknown options: {', '.join(sorted(unknown))}")
            if tag == "check":
                options["by"] = value
            found.append(Block(page, line, language, tag, options, token.content))
    if wrong:
        raise BadBlock("\n".join(wrong))
    return found
