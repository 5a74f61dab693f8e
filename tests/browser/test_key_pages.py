"""Errors on the pages about keys, and parts that open on demand."""

from __future__ import annotations

import re
from collections.abc import Callable

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.support.browser.chromium import Visit
from tests.support.service import Service
from tests.support.times import begin_within_an_hour

NewVisit = Callable[..., Visit]


def require_accessible(page: Page) -> None:
    found = Axe().run(page).response
    assert found["passes"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []


def test_an_error_is_linked_to_its_field_and_other_fields_are_kept(ada: Visit) -> None:
    page = ada.page
    page.goto("/console/keys/new")
    page.get_by_label("Test", exact=True).check()
    page.get_by_label("Only the scopes selected below").check()
    page.get_by_label("account:read").check()
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Enter a name.")).to_be_visible()
    name = page.get_by_label("Name", exact=True)
    expect(name).to_have_attribute("aria-invalid", "true")
    expect(name).to_have_attribute("aria-describedby", re.compile("error"))
    for kept in ("Test", "Only the scopes selected below", "account:read"):
        expect(page.get_by_label(kept, exact=True)).to_be_checked()
    require_accessible(page)


def test_filling_a_field_in_selects_its_radio_button(console: Service, ada: Visit) -> None:
    page = ada.page
    page.goto("/console/keys/new")
    page.get_by_label("Name", exact=True).fill("narrow")
    page.get_by_label("account:read").check()
    expect(page.get_by_label("Only the scopes selected below")).to_be_checked()
    page.get_by_label("Date and time, in UTC").fill("2099-12-31T23:59")
    expect(page.get_by_label("On a date")).to_be_checked()
    page.get_by_role("button", name="Create").click()
    key = page.locator("#api-key").text_content() or ""
    terms = console.get(f"/v1/api_keys/{key}", console.issue().bearer).json
    assert (terms["scopes"], terms["expires_at"]) == (["account:read"], "2099-12-31T23:59:00.000Z")

    page.goto(f"/console/keys/{key}/edit")
    page.get_by_label("Date and time, in UTC").fill("2098-12-31T23:59")
    expect(page.get_by_label("On a date")).to_be_checked()
    # Another choice clears the field; the first choice restores it.
    page.get_by_label("Full access").check()
    expect(page.get_by_label("account:read")).not_to_be_checked()
    page.get_by_label("Only the scopes selected below").check()
    expect(page.get_by_label("account:read")).to_be_checked()
    page.get_by_label("Unchanged").check()
    expect(page.get_by_label("Date and time, in UTC")).to_have_value("")
    page.get_by_label("Read only").check()
    with page.expect_navigation():
        page.get_by_role("button", name="Save").click()
    terms = console.get(f"/v1/api_keys/{key}", console.issue().bearer).json
    assert (terms["scopes"], terms["expires_at"]) == (["*:read"], "2099-12-31T23:59:00.000Z")

    page.goto(f"/console/keys/{key}/rotate")
    page.get_by_label("Hours, 0 to 720").fill("5")
    expect(page.get_by_label("A number of hours")).to_be_checked()
    page.get_by_role("button", name="Rotate", exact=True).click()
    expect(page.get_by_text("Copy the secret now.")).to_be_visible()


def test_a_contradiction_is_refused_without_javascript(
    console: Service, new_visit: NewVisit
) -> None:
    plain = new_visit(java_script_enabled=False)
    plain.sign_in()
    page = plain.page
    page.goto("/console/keys/new")
    page.get_by_label("Name", exact=True).fill("narrow without scripts")
    page.get_by_label("account:read").check()
    page.get_by_role("button", name="Create").click()
    expect(
        page.get_by_text("Choose “Only the scopes selected below”, or clear this field.")
    ).to_be_visible()
    page.get_by_label("Only the scopes selected below").check()
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Copy the secret now.")).to_be_visible()
    key = page.locator("#api-key").text_content() or ""
    terms = console.get(f"/v1/api_keys/{key}", console.issue().bearer).json
    assert terms["scopes"] == ["account:read"]


def test_a_reload_names_the_key_that_the_form_created(ada: Visit) -> None:
    page = ada.page
    page.goto("/console/keys/new")
    page.get_by_label("Name", exact=True).fill("reloaded")
    page.get_by_role("button", name="Create").click()
    key = page.locator("#api-key").text_content() or ""
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("This key was already created")
    expect(page.get_by_role("link", name=key)).to_be_visible()
    require_accessible(page)


def test_the_numbers_of_a_chart_can_be_opened_with_the_keyboard(
    console: Service, ada: Visit
) -> None:
    pair = console.issue(name="looked at")
    begin_within_an_hour()
    for _ in range(3):
        assert console.get("/v1/account", pair.bearer).status == 200
    page = ada.page
    page.goto(f"/console/keys/{pair.api_key}")
    expect(page.get_by_role("img", name="Requests per hour in the last 48 hours")).to_be_visible()
    for details in page.locator("details").all():
        details.locator("summary").press("Enter")
        expect(details.locator("tbody .number")).to_have_text("3")
    require_accessible(page)


def test_a_button_verifies_the_audit_log(ada: Visit) -> None:
    page = ada.page
    page.goto("/console/audit/")
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_text("The log is intact")).to_be_visible()
    require_accessible(page)
