"""No link of the Markdown files is dead: files, headings and pictures of this repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.documents.links import anchors, dead, links

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*/README.md"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *EXAMPLES])


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_leads_somewhere(page: Path) -> None:
    found = {f"{link.line}: {link.target}": dead(link) for link in links(page)}
    assert {link: wrong for link, wrong in found.items() if wrong} == {}


def test_every_page_of_the_site_is_in_its_navigation() -> None:
    named = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    docs = ROOT / "docs"
    pages = {str(page.relative_to(docs)) for page in PAGES if docs in page.parents}
    # These lie outside docs/; scripts/site_hooks.py adds them.
    pages |= {f"examples/{page.parent.name}.md" for page in EXAMPLES}
    assert sorted(named) == sorted(pages | {"contributing.md", "changelog.md"})


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    other.write_text("# A `name`, and more\n\n## Twice\n\n## Twice\n")
    assert anchors(other) == {"a-name-and-more", "twice", "twice-1"}
    page.write_text(
        "# Here\n\n[a](other.md#twice-1) [b](#here) [c](https://example.com) ![d](other.md)\n\n"
        "| [e](gone.md) | ![f](gone.png) |\n|---|---|\n| [g](other.md#gone) | [h](#gone) |\n\n"
        "[i](http://example.com) [j](/etc/hosts) `[k](gone.md)`\n\n"
        '<img width="9" src="gone.svg">\n'
    )
    wrong = [link.target for link in links(page) if dead(link)]
    assert wrong == [
        *(
            "gone.md",
            "gone.png",
            "other.md#gone",
            "#gone",
            "http://example.com",
            "/etc/hosts",
            "gone.svg",
        ),
    ]
    assert len(links(page)) == 11
