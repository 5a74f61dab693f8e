"""Check that the pages of a built site load nothing from other hosts.

usage: check_site.py DIRECTORY

Links that a reader may follow are not checked.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

_LOADED = {
    "href": {"link"},
    "src": {"script", "img", "iframe", "source", "audio", "video", "embed"},
}
_FOREIGN = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)
_STYLE = re.compile(r"(?:@import\s+[\"']?|url\(\s*[\"']?)((?:https?:)?//[^\"')]+)")


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if tag in _LOADED.get(name, ()) and value and _FOREIGN.match(value):
                self.foreign.append(value)


def foreign(site: Path) -> list[str]:
    """The addresses on other hosts that pages and styles load, each with its file."""
    found = []
    for path in sorted(site.rglob("*.html")):
        loads = _Loads()
        loads.feed(path.read_text("utf-8"))
        found += [f"{path.relative_to(site)}: {address}" for address in loads.foreign]
    for path in sorted(site.rglob("*.css")):
        addresses = _STYLE.findall(path.read_text("utf-8"))
        found += [f"{path.relative_to(site)}: {address}" for address in addresses]
    return found


def main() -> int:
    """Print the addresses on other hosts; the exit status is 1 if there are any."""
    site = Path(sys.argv[1])
    if not (site / "index.html").exists():
        sys.stderr.write(f"{site} has no index.html: build the site first\n")
        return 1
    found = foreign(site)
    for line in found:
        sys.stderr.write(f"loaded from another host: {line}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
