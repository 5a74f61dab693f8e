"""axe-core finds nothing wrong with any page, in light and in dark, on a desktop and a phone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.chromium import DESKTOP, PHONE, Visit
from tests.browser.demonstration import Demonstration
from tests.browser.shown import PAGES, Shown
from tests.console.visitor import Visitor
from tests.service import Service

NewVisit = Callable[..., Visit]


@pytest.fixture(scope="module")
def demonstration(console: Service) -> Demonstration:
    return Demonstration(console)


@pytest.fixture(scope="module")
def session(console: Service) -> Visitor:
    """The administrator, signed in once for all pages."""
    visitor = Visitor(console)
    assert visitor.sign_in().status == 303
    return visitor


@pytest.mark.parametrize("shown", PAGES, ids=lambda shown: shown.name)
def test_axe_finds_nothing(
    new_visit: NewVisit, session: Visitor, demonstration: Demonstration, shown: Shown
) -> None:
    # Colours change at once: none is looked at on its way.
    visit = new_visit(reduced_motion="reduce")
    if shown.signed_in:
        visit.sign_in(session)
    shown.open(visit.page, demonstration.path(shown))
    for viewport in (DESKTOP, PHONE):
        visit.page.set_viewport_size(viewport)  # type: ignore[arg-type]
        for scheme in ("light", "dark"):
            visit.page.emulate_media(color_scheme=scheme)
            # Nothing but colours differs between the schemes.
            rules = None if scheme == "light" else {"runOnly": ["color-contrast"]}
            found = Axe().run(visit.page, options=rules).response
            assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
            assert found["passes"], f"nothing was looked at on {shown.name}"
        width = visit.page.evaluate("document.documentElement.scrollWidth")
        assert width <= viewport["width"], f"{shown.name} scrolls sideways"
