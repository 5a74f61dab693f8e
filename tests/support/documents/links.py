"""The links of the Markdown files: to files, to headings, and to other hosts.

Headings have the anchors that GitHub and the site of `make docs` give them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

_HTML_ANCHOR = re.compile(r"""<a\s+(?:id|name)=["']([^"']+)["']""")
_HTML_LINK = re.compile(r"""<(?:a|img)\s[^>]*?(?:href|src)=["']([^"']+)["']""")


@dataclass(frozen=True)
class Link:
    """One link or picture of a page."""

    page: Path
    line: int
    target: str


def links(page: Path) -> list[Link]:
    """Every link and every picture of a page."""
    found = []
    for token, line in _inline(page):
        if token.type in ("html_inline", "html_block"):
            found += [Link(page, line, target) for target in _HTML_LINK.findall(token.content)]
        for name in ("href", "src"):
            if (target := token.attrGet(name)) is not None:
                found.append(Link(page, line, str(target)))
    return found


def dead(link: Link) -> str | None:
    """The fault of a link, or None. Other hosts are not contacted."""
    if re.match(r"[a-z][a-z0-9+.-]*:", link.target):
        return None if link.target.startswith(("https://", "http://127.0.0.1:")) else "not https"
    name, _, anchor = link.target.partition("#")
    if name.startswith("/"):
        return "an absolute path"
    file = (link.page.parent / name).resolve() if name else link.page
    if not file.exists():
        return "there is no such file"
    if anchor and (file.suffix != ".md" or anchor not in anchors(file)):
        return "there is no such heading"
    return None


@lru_cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, and those that it sets itself."""
    found: Counter[str] = Counter()
    every = set(_HTML_ANCHOR.findall(page.read_text("utf-8")))
    tokens = _parsed(page)
    for heading, content in pairwise(tokens):
        if heading.type == "heading_open":
            text = "".join(
                child.content for child in content.children or () if child.type != "image"
            )
            slug = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
            every.add(f"{slug}-{found[slug]}" if found[slug] else slug)
            found[slug] += 1
    return frozenset(every)


def _inline(page: Path) -> Iterator[tuple[Token, int]]:
    for token in _parsed(page):
        if token.type == "html_block":
            yield token, (token.map or [0])[0] + 1
        for child in token.children or ():
            yield child, (token.map or [0])[0] + 1


@lru_cache
def _parsed(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text("utf-8"))
