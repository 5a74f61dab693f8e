"""``make screenshots``: the screenshots of the console in the documentation."""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Browser

from tests.support.browser.chromium import CHROMIUM, DESKTOP, PHONE, Visit, chromium
from tests.support.browser.demonstration import Demonstration
from tests.support.browser.shown import PAGES, Shown
from tests.support.console.visitor import Visitor, make_administrator, set_up_path
from tests.support.service import Service

ROOT = Path(__file__).parents[3]
TARGET = ROOT / "docs" / "screenshots"
_HIGHEST = 1500
_SIZES = {"desktop": DESKTOP, "phone": PHONE}


def shown_by_pages() -> set[str]:
    """The names of the pictures in the README and the pages of docs/."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    found = (re.findall(r"screenshots/([a-z-]+\.png)", page.read_text()) for page in pages)
    return {name for names in found for name in names}


def main() -> int:
    """Start a service, take the screenshots, and stop it."""
    if CHROMIUM is None:
        sys.stderr.write("there is no chromium: apt-get install chromium-headless-shell\n")
        return 1
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        service = Service(Path(directory), LATCHKEY_SIGN_IN_LIMIT="off")
        with service, chromium() as browser:
            link = Shown("set-up", set_up_path(service), signed_in=False)
            _show(browser, service, [link])
            make_administrator(service)
            ada = Visitor(service)
            ada.sign_in()
            demonstration = Demonstration(service)
            _show(
                browser,
                service,
                [replace(shown, path=demonstration.path(shown)) for shown in PAGES],
                ada,
            )
    return 0


def _show(
    browser: Browser, service: Service, pages: list[Shown], ada: Visitor | None = None
) -> None:
    for scheme in ("light", "dark"):
        for size, viewport in _SIZES.items():
            for signed_in in (False, True):
                pictures = {f"{shown.name}-{size}-{scheme}.png": shown for shown in pages}
                wanted = {
                    name: shown
                    for name, shown in pictures.items()
                    if shown.signed_in is signed_in and name in shown_by_pages()
                }
                if not wanted:
                    continue
                visit = Visit(browser, service, color_scheme=scheme, viewport=viewport)
                if signed_in:
                    visit.sign_in(ada)
                for name, shown in wanted.items():
                    shown.open(visit.page, shown.path)
                    height = visit.page.evaluate("document.documentElement.scrollHeight")
                    visit.page.screenshot(
                        path=TARGET / name,
                        full_page=True,
                        animations="disabled",
                        clip={
                            "x": 0,
                            "y": 0,
                            "width": viewport["width"],
                            "height": min(height, _HIGHEST),
                        },
                    )
                    sys.stdout.write(f"{name}\n")
                visit.close()


if __name__ == "__main__":
    sys.exit(main())
