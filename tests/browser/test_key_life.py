"""The life of a key in the browser: created, used, rotated, revoked and refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Dialog, Error, Page, expect

from tests.support.browser.chromium import Visit
from tests.support.service import Pair, Service

NewVisit = Callable[..., Visit]


def create(page: Page, name: str) -> Pair:
    """Create a key with the form; returns the pair in the response."""
    page.goto("/console/keys/")
    page.get_by_role("link", name="Create API key").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Create", exact=True).click()
    return shown_pair(page)


def shown_pair(page: Page) -> Pair:
    """The pair on the page that shows a secret."""
    expect(page.get_by_text("Copy the secret now.")).to_be_visible()
    key, secret = (
        page.locator("#api-key").text_content(),
        page.locator("#api-secret").text_content(),
    )
    assert key is not None
    assert secret is not None
    return Pair(key, secret)


def status(service: Service, pair: Pair) -> int:
    """The status of an API request with the pair, as a bearer token."""
    return service.get("/v1/account", pair.bearer).status


def live(console: Service, page: Page, name: str) -> None:
    """The complete life of a key."""
    pair = create(page, name)
    assert status(console, pair) == 200
    assert console.get("/v1/account", pair.headers).status == 200
    with page.expect_navigation():
        page.get_by_role("link", name="I have copied the secret").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(name)
    assert pair.api_secret not in page.content()
    uses = page.locator("dt:text-is('Requests') + dd")
    expect(uses).to_have_text("2")
    page.get_by_role("link", name="Rotate", exact=True).click()
    page.get_by_label("1 hour").check()
    page.get_by_role("button", name="Rotate", exact=True).click()
    successor = shown_pair(page)
    assert successor.api_key != pair.api_key
    assert (status(console, pair), status(console, successor)) == (200, 200)
    for one in (pair, successor):
        page.goto(f"/console/keys/{one.api_key}")
        page.get_by_role("link", name="Revoke", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"Revoke {name}?")
        expect(page.get_by_text(one.api_key)).to_be_visible()
        assert status(console, one) == 200
        page.get_by_role("button", name="Revoke", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("revoked")
        assert console.get("/v1/account", one.bearer).code == "key_revoked"


def test_a_keys_life(console: Service, ada: Visit) -> None:
    live(console, ada.page, "Billing")


def test_a_keys_life_without_javascript(console: Service, new_visit: NewVisit) -> None:
    plain = new_visit(java_script_enabled=False)
    plain.sign_in()
    live(console, plain.page, "Plain")
    assert not plain.page.get_by_role("button", name="Copy").is_visible()


def test_the_secret_is_shown_once(console: Service, ada: Visit) -> None:
    page = ada.page
    pair = create(page, "Once")
    page.reload()
    assert pair.api_secret not in page.content()
    # One form has created one key.
    page.goto("/console/keys/?q=Once")
    expect(page.locator("tbody tr")).to_have_count(1)
    # The browser has no copy of the response to go back to.
    with pytest.raises(Error, match="ERR_CACHE_MISS"):
        page.go_back()


def test_copying(console: Service, new_visit: NewVisit) -> None:
    visit = new_visit(permissions=["clipboard-read", "clipboard-write"])
    visit.sign_in()
    pair = create(visit.page, "Copied")
    visit.page.get_by_role("button", name="Copy API secret").click()
    expect(visit.page.get_by_role("button", name="Copied")).to_be_visible()
    assert visit.page.evaluate("navigator.clipboard.readText()") == pair.api_secret


def test_markup_in_a_name_is_escaped(console: Service, ada: Visit) -> None:
    name = "<img src=x onerror=alert(1)><script>alert(2)</script>'\"{{ 7 * 7 }}"
    asked: list[str] = []

    def refuse(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    ada.page.on("dialog", refuse)
    pair = create(ada.page, name)
    for path in (
        "/console/keys/",
        f"/console/keys/{pair.api_key}",
        f"/console/keys/{pair.api_key}/edit",
        f"/console/keys/{pair.api_key}/rotate",
        f"/console/keys/{pair.api_key}/revoke",
        "/console/audit/",
        f"/console/keys/?q={'%3Cscript%3Ealert(3)%3C/script%3E'}",
    ):
        ada.page.goto(path)
        assert ada.page.locator("main img, main script").count() == 0, path
    ada.page.goto(f"/console/keys/{pair.api_key}")
    expect(ada.page.get_by_role("heading", level=1)).to_contain_text(name)
    assert asked == []


def test_with_the_keyboard_only(console: Service, ada: Visit) -> None:
    page = ada.page
    page.goto("/console/keys/new")
    page.get_by_label("Name", exact=True).focus()
    page.keyboard.type("Typed")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Account", exact=True)).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Test", exact=True)).to_be_checked()
    page.keyboard.press("Enter")
    pair = shown_pair(page)
    assert pair.api_key.startswith("ak_test_")
    assert status(console, pair) == 200
