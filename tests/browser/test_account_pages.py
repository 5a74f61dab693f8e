"""The pages about accounts in the browser: all actions, the keyboard, hostile and long texts."""

from __future__ import annotations

from collections.abc import Callable

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Dialog, Page, expect

from tests.support.browser.chromium import PHONE, Visit
from tests.support.console.accounts import account_path, make_account, make_key
from tests.support.console.visitor import Visitor
from tests.support.service import Service

NewVisit = Callable[..., Visit]
ACCOUNTS = "/console/accounts/"


def require_accessible(page: Page) -> None:
    found = Axe().run(page).response
    assert found["passes"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []


def signed_in(service: Service) -> Visitor:
    visitor = Visitor(service)
    visitor.sign_in()
    return visitor


def live(console: Service, page: Page, name: str) -> None:
    """The complete life of an account."""
    page.goto(ACCOUNTS)
    page.get_by_role("link", name="Create account").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("External id").fill("not valid")
    page.get_by_label("Metadata").fill('{"plan": "gold"}')
    page.get_by_role("button", name="Create").click()
    external_id = page.get_by_label("External id")
    expect(external_id).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Metadata")).to_have_value('{"plan": "gold"}')
    external_id.fill(f"{name}-1")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(name)
    page.get_by_role("link", name="Create API key").click()
    expect(page.get_by_text("The key will belong to")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("Nightly")
    page.get_by_label("Read only").check()
    page.get_by_role("button", name="Create").click()
    secret = page.locator("#api-secret").text_content() or ""
    bearer = {"Authorization": f"Bearer {secret}"}
    assert console.get("/v1/account", bearer).status == 200
    page.get_by_role("link", name=name).click()
    expect(page.get_by_role("link", name="Nightly")).to_be_visible()
    page.get_by_role("link", name="Disable").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Disable {name}?")
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_text("Account disabled.")).to_be_visible()
    assert console.get("/v1/account", bearer).code == "key_disabled"
    page.get_by_role("link", name="Enable").click()
    page.get_by_role("button", name="Enable").click()
    expect(page.get_by_text("Account enabled.")).to_be_visible()
    assert console.get("/v1/account", bearer).status == 200
    page.get_by_role("link", name="Revoke keys").click()
    page.get_by_label("In both modes: 1 key").check()
    page.get_by_role("button", name="Revoke keys").click()
    expect(page.get_by_text("1 key revoked.")).to_be_visible()
    assert console.get("/v1/account", bearer).code == "key_revoked"


def test_an_accounts_life(console: Service, ada: Visit) -> None:
    live(console, ada.page, "Acme")


def test_an_accounts_life_without_javascript(console: Service, new_visit: NewVisit) -> None:
    plain = new_visit(java_script_enabled=False)
    plain.sign_in()
    live(console, plain.page, "Plain")


def test_with_the_keyboard_only(console: Service, ada: Visit) -> None:
    page = ada.page
    page.goto(f"{ACCOUNTS}new")
    page.get_by_label("Name", exact=True).focus()
    page.keyboard.type("Typed")
    page.keyboard.press("Tab")
    expect(page.get_by_label("External id")).to_be_focused()
    page.keyboard.type("typed-1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Typed")
    make_key(signed_in(console), "typed-1")
    page.get_by_role("link", name="Revoke keys").press("Enter")
    page.get_by_label("Only in live mode").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Only in test mode")).to_be_checked()
    page.keyboard.press("Enter")
    expect(page.get_by_text("There was no key left to revoke.")).to_be_visible()


def test_the_access_to_an_account_has_no_default(console: Service, ada: Visit) -> None:
    account = make_account(signed_in(console), "Undecided")
    page = ada.page
    page.goto(f"/console/keys/new?account={account}")
    for choice in ("Full access", "Read only", "Only the scopes selected below"):
        expect(page.get_by_label(choice)).not_to_be_checked()
    page.get_by_label("Name", exact=True).fill("Undecided")
    page.get_by_role("button", name="Create").click()
    # The browser asks for a choice, and sends nothing.
    expect(page.get_by_role("heading", level=1)).to_have_text("Create API key")
    page.get_by_label("account:read").check()
    expect(page.get_by_label("Only the scopes selected below")).to_be_checked()
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Copy the secret now.")).to_be_visible()


def test_long_and_hostile_texts(console: Service, new_visit: NewVisit) -> None:
    name = f"<img src=x onerror=alert(1)>{'שלוםW' * 14}"
    ada = signed_in(console)
    account = make_account(ada, name, external_id="x" * 255, metadata=f'{{"a":"{"y" * 700}"}}')
    pair = make_key(ada, account, name="w" * 100)
    here = new_visit(reduced_motion="reduce")
    here.sign_in(ada)
    page = here.page
    asked: list[str] = []

    def refuse(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", refuse)
    paths = [account_path(account, one) for one in ("", "/edit", "/disable", "/revoke-keys")]
    paths += [ACCOUNTS, "/console/keys/", f"/console/keys/{pair.api_key}"]
    for path in paths:
        page.goto(path)
        assert page.locator("main img, main script").count() == 0, path
        expect(page.locator("main")).to_contain_text(name)
        for width in (1280, PHONE["width"]):
            page.set_viewport_size({"width": width, "height": 800})
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{path} scrolls sideways at {width}"
    require_accessible(page)
    assert asked == []
