"""What the pages about keys say when something is wrong, and what only opens on demand."""

from __future__ import annotations

import re

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.chromium import Visit
from tests.service import Service


def require_accessible(page: Page) -> None:
    found = Axe().run(page).response
    assert found["passes"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []


def test_a_fault_is_tied_to_its_field_and_nothing_is_lost(ada: Visit) -> None:
    page = ada.page
    page.goto("/console/keys/new")
    page.get_by_label("Test", exact=True).check()
    page.get_by_label("Only the scopes chosen below").check()
    page.get_by_label("account:read").check()
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Enter a name.")).to_be_visible()
    name = page.get_by_label("Name")
    expect(name).to_have_attribute("aria-invalid", "true")
    expect(name).to_have_attribute("aria-describedby", re.compile("error"))
    for kept in ("Test", "Only the scopes chosen below", "account:read"):
        expect(page.get_by_label(kept, exact=True)).to_be_checked()
    require_accessible(page)


def test_a_reload_says_which_key_the_form_made(ada: Visit) -> None:
    page = ada.page
    page.goto("/console/keys/new")
    page.get_by_label("Name").fill("reloaded")
    page.get_by_role("button", name="Create").click()
    key = page.locator("#api-key").text_content() or ""
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("This form was sent before")
    expect(page.get_by_role("link", name=key)).to_be_visible()
    require_accessible(page)


def test_the_numbers_of_a_plot_open_by_keyboard(console: Service, ada: Visit) -> None:
    pair = console.issue(name="looked at")
    for _ in range(3):
        assert console.get("/v1/account", pair.bearer).status == 200
    page = ada.page
    page.goto(f"/console/keys/{pair.api_key}")
    expect(page.get_by_role("img", name="Requests per hour, the last 48 hours")).to_be_visible()
    for details in page.locator("details").all():
        details.locator("summary").press("Enter")
        expect(details.locator("tbody .number")).to_have_text("3")
    require_accessible(page)


def test_the_audit_log_is_verified_by_a_button(ada: Visit) -> None:
    page = ada.page
    page.goto("/console/audit/")
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_text("The log is whole")).to_be_visible()
    require_accessible(page)
