"""axe-core finds no fault in any page, in light and dark mode, on a desktop and a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.support.browser.chromium import DESKTOP, PHONE, Visit
from tests.support.browser.demonstration import Demonstration
from tests.support.browser.shown import PAGES, Shown
from tests.support.service import Service

# Only a summary: the complete result is large.
_LOOK = """async options => {
    const found = await axe.run(document, options)
    return {
        violations: found.violations.map(one => [one.id, one.nodes[0].html]),
        passes: found.passes.length,
    }
}"""


@pytest.fixture(scope="module")
def demonstration(console: Service) -> Demonstration:
    return Demonstration(console)


@pytest.fixture(scope="module")
def visits(browser: Browser, console: Service) -> Iterator[dict[bool, Visit]]:
    """Two visits for all pages: an administrator, and a visitor who is not signed in."""
    # Without transitions, so that colours are not measured while they change.
    opened = {
        signed_in: Visit(browser, console, reduced_motion="reduce") for signed_in in (False, True)
    }
    opened[True].sign_in()
    yield opened
    for visit in opened.values():
        visit.close()


@pytest.mark.parametrize("shown", PAGES, ids=lambda shown: shown.name)
def test_axe_finds_no_fault(
    visits: dict[bool, Visit], demonstration: Demonstration, shown: Shown
) -> None:
    visit = visits[shown.signed_in]
    shown.open(visit.page, demonstration.path(shown))
    visit.page.evaluate(Axe().axe_script)
    for viewport in (DESKTOP, PHONE):
        visit.page.set_viewport_size(viewport)  # type: ignore[arg-type]
        for scheme in ("light", "dark"):
            visit.page.emulate_media(color_scheme=scheme)
            # The colour schemes differ only in colours.
            rules = {} if scheme == "light" else {"runOnly": ["color-contrast"]}
            found = visit.page.evaluate(_LOOK, {"resultTypes": ["violations"], **rules})
            assert found["violations"] == []
            assert found["passes"] > 0, f"nothing was looked at on {shown.name}"
        width = visit.page.evaluate("document.documentElement.scrollWidth")
        assert width <= viewport["width"], f"{shown.name} scrolls sideways"
    assert visit.faults == []
