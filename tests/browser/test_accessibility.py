"""axe-core finds nothing wrong with any page, in light and in dark, on a desktop and a phone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.chromium import DESKTOP, PHONE, Visit
from tests.browser.demonstration import Demonstration
from tests.browser.shown import PAGES, Shown
from tests.service import Service

NewVisit = Callable[..., Visit]


@pytest.fixture(scope="module")
def demonstration(console: Service) -> Demonstration:
    return Demonstration(console)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("shown", PAGES, ids=lambda shown: shown.name)
def test_axe_finds_nothing(
    new_visit: NewVisit, demonstration: Demonstration, shown: Shown, scheme: str
) -> None:
    visit = new_visit(color_scheme=scheme)
    if shown.signed_in:
        visit.sign_in()
    shown.open(visit.page, demonstration.path(shown))
    for viewport in (DESKTOP, PHONE):
        visit.page.set_viewport_size(viewport)  # type: ignore[arg-type]
        found = Axe().run(visit.page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
        width = visit.page.evaluate("document.documentElement.scrollWidth")
        assert width <= viewport["width"], f"{shown.name} scrolls sideways"
