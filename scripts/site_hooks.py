"""MkDocs hooks: remove the tags of code blocks, and keep links to files outside docs/ valid.

A comment ``<!-- ::: NAME members=ONE,TWO -->`` is replaced by the docstrings of the name and of the
listed members.

Links in the Markdown lead to files of the repository. In the site, CONTRIBUTING.md, CHANGELOG.md
and the READMEs of the examples become pages, links to the README lead to the home page, and all
other linked files are copied below ``source/``. A directory has no page, so its link becomes text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs/"
PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/fastapi_orders/README.md": "examples/fastapi_orders.md",
    "examples/flask_orders/README.md": "examples/flask_orders.md",
    "examples/ledger/README.md": "examples/ledger.md",
}
HOME = {"README.md": "index.md"}

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^()#\s:]+)(#[^()\s]*)?\)")
_FENCE = re.compile(r"^( *(?:```+|~~~+))[ \t]*([\w+-]*)[^\n`]*$", re.MULTILINE)
_DOCSTRING = re.compile(r"^<!-- ::: ([\w.]+) members=([\w,]*) -->$", re.MULTILINE)
_BLOCK = re.compile(r"^( *)(```+|~~~+).*?^ *\2[ \t]*$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages outside docs/, and the files that pages link to."""
    from mkdocs.structure.files import File

    for path, name in PAGES.items():
        files.append(File.generated(config, name, content=(ROOT / path).read_text("utf-8")))
    linked = {
        target
        for file in files.documentation_pages()
        for _, target in _links(file.content_string, _origin(file.src_uri))
        if _place(target).startswith("source/") and (ROOT / target).is_file()
    }
    for target in sorted(linked):
        files.append(
            File.generated(config, _place(target), abs_src_path=str(ROOT / target)),
        )
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """The page with plain fences, and with links to the places of files in the site."""
    here = page.file.src_uri
    origin = _origin(here)

    def relinked(found: re.Match[str]) -> str:
        text, target, anchor = found[1], _resolved(found[2], origin), found[3] or ""
        if (ROOT / target).is_dir():
            return text
        if target in HOME:
            anchor = ""
        place = posixpath.relpath(_place(target), posixpath.dirname(here) or ".")
        return f"[{text}]({place}{anchor})"

    parts = []
    end = 0
    for block in _BLOCK.finditer(markdown):
        parts.append(_LINK.sub(relinked, markdown[end : block.start()]))
        fence, rest = block[0].split("\n", 1)
        parts.append(f"{_FENCE.sub(lambda found: found[1] + found[2], fence)}\n{rest}")
        end = block.end()
    parts.append(_LINK.sub(relinked, markdown[end:]))
    return _DOCSTRING.sub(_docstring, "".join(parts))


def _docstring(found: re.Match[str]) -> str:
    """The directive of mkdocstrings for a comment."""
    return f"::: {found[1]}\n    options:\n      members: [{found[2]}]\n"


def _origin(place: str) -> str:
    """The path in the repository of a page of the site."""
    return {name: path for path, name in PAGES.items()}.get(place, DOCS + place)


def _place(path: str) -> str:
    """The path in the site of a file of the repository."""
    if path in PAGES or path in HOME:
        return (PAGES | HOME)[path]
    return path.removeprefix(DOCS) if path.startswith(DOCS) else f"source/{path}.txt"


def _resolved(target: str, origin: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))


def _links(text: str, origin: str) -> list[tuple[str, str]]:
    plain = _BLOCK.sub("", text)
    return [(found[1], _resolved(found[2], origin)) for found in _LINK.finditer(plain)]
