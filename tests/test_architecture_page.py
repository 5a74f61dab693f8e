"""docs/architecture.md and CONTRIBUTING.md name only files and modules that exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("docs/architecture.md", "CONTRIBUTING.md")
# A path may begin in the repository, or in one of the packages that the page describes.
BASES = (ROOT, ROOT / "app", ROOT / "latchkey", ROOT / "app/latchkey_service")
# Names of generated files, system paths and HTTP paths.
ELSEWHERE = re.compile(
    r"^(/|build/|dist/|\.venv/|data/|secrets/|PYTHON=|POST |GET |PUT |DELETE )|[<>{}*…]"
)

_QUOTED = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
_FILE = re.compile(r"[\w./-]+(?:/|\.(?:py|pyx|pxd|pyi|h|md|toml|txt|sh|svg))")
_ANYWHERE = re.compile(r"(?<![\w./])(?:app|fastcache|latchkey|tests)/[\w./-]+\.(?:py|pyx|pxd|h)\b")
_MODULE = re.compile(r"(?:latchkey|latchkey_service|fastcache)(?:\.\w+)+")


def _quoted(page: str) -> list[str]:
    return [re.sub(r"\s+", "", one) for one in _QUOTED.findall((ROOT / page).read_text("utf-8"))]


def files_of(page: str) -> list[str]:
    """The files and directories that a page names in code, and files in its diagrams."""
    found = {one for one in _quoted(page) if _FILE.fullmatch(one) and "/" in one}
    found.update(_ANYWHERE.findall((ROOT / page).read_text("utf-8")))
    return sorted(one for one in found if not ELSEWHERE.search(one))


def modules_of(page: str) -> list[str]:
    """The modules, or names in modules, that a page names in code."""
    return sorted({one for one in _quoted(page) if _MODULE.fullmatch(one)})


def links_of(page: str) -> list[str]:
    """The files that a page links to."""
    return sorted(set(_LINK.findall((ROOT / page).read_text("utf-8"))))


def _each(read: object) -> list[tuple[str, str]]:
    assert callable(read)
    return [(page, name) for page in PAGES for name in read(page)]


def test_the_pages_name_files_and_modules() -> None:
    assert len(files_of(PAGES[0])) > 40
    assert len(modules_of(PAGES[0])) > 15
    assert links_of(PAGES[0])


@pytest.mark.parametrize(("page", "name"), _each(files_of))
def test_a_file_that_the_page_names_exists(page: str, name: str) -> None:
    assert any((base / name).exists() for base in BASES), f"{page} names {name}"


@pytest.mark.parametrize(("page", "name"), _each(modules_of))
def test_a_module_that_the_page_names_exists(page: str, name: str) -> None:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            assert hasattr(found, attribute), f"{page} names {name}"
            found = getattr(found, attribute)
        return
    pytest.fail(f"{page} names {name}")


@pytest.mark.parametrize(("page", "name"), _each(links_of))
def test_links_lead_to_existing_files(page: str, name: str) -> None:
    assert ((ROOT / page).parent / name).exists(), f"{page} leads to {name}"
