"""Sign-in in the browser: with the mouse, with the keyboard only, without JavaScript."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.support.browser.chromium import PHONE, Visit
from tests.support.console.visitor import PASSWORD, Visitor, admin, set_up_path
from tests.support.service import Service

NewVisit = Callable[..., Visit]
PASSWORD_PAGE = "/console/password/"


def fill_in(page: Page, password: str = PASSWORD) -> None:
    """Fill in the sign-in form and submit it."""
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_signing_in_and_out(visit: Visit) -> None:
    page = visit.page
    page.goto(PASSWORD_PAGE)
    expect(page).to_have_title("Sign in – Latchkey")
    fill_in(page)
    expect(page.get_by_role("heading", name="Password and sessions")).to_be_visible()
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page).to_have_title("Sign in – Latchkey")
    # Going back does not show a cached page.
    page.goto(PASSWORD_PAGE)
    expect(page).to_have_title("Sign in – Latchkey")


def test_setting_up(console: Service, visit: Visit) -> None:
    """The first administrator is created with the link: ada, as before."""
    assert admin(console, "remove", "ada", "--yes").returncode == 0
    page = visit.page
    page.goto(set_up_path(console))
    expect(page.get_by_role("heading", name="Set up the console")).to_be_visible()
    assert Axe().run(page).response["violations"] == []
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Repeat password").fill(PASSWORD)
    page.get_by_role("button", name="Create administrator").click()
    expect(page.get_by_role("status")).to_contain_text("You are the first administrator.")


def test_a_wrong_password(visit: Visit) -> None:
    visit.page.goto("/console/sign-in")
    fill_in(visit.page, "wrong horse battery")
    alert = visit.page.get_by_role("alert")
    expect(alert).to_have_text("Wrong name or password.")
    expect(visit.page.get_by_label("Name")).to_have_value("ada")
    expect(visit.page.get_by_label("Password")).to_have_value("")
    fill_in(visit.page)
    expect(visit.page.get_by_role("button", name="Sign out", exact=True)).to_be_visible()


def test_a_forged_form(ada: Visit) -> None:
    ada.page.goto(PASSWORD_PAGE)
    ada.page.evaluate(
        "for (const token of document.querySelectorAll('[name=csrf_token]')) token.value = 'forged'"
    )
    ada.page.get_by_role("button", name="Sign out everywhere").click()
    expect(ada.page.get_by_role("heading", name="Bad Request")).to_be_visible()
    expect(ada.page.get_by_text("Nothing was changed")).to_be_visible()
    ada.page.goto(PASSWORD_PAGE)
    expect(ada.page.get_by_role("heading", name="Password and sessions")).to_be_visible()


def test_an_expired_session(console: Service, ada: Visit) -> None:
    ada.page.goto(PASSWORD_PAGE)
    expect(ada.page.get_by_role("heading", name="Password and sessions")).to_be_visible()
    with closing(sqlite3.connect(console.database)) as connection, connection:
        connection.execute("UPDATE console_session SET seen_at = seen_at - 1800000")
    ada.page.get_by_role("button", name="Sign out everywhere").click()
    expect(ada.page).to_have_title("Sign in – Latchkey")
    ada.page.goto(PASSWORD_PAGE)
    hint = ada.page.get_by_text("A session expires after 30 minutes of inactivity.")
    expect(hint).to_be_visible()
    fill_in(ada.page)
    expect(ada.page.get_by_role("heading", name="Password and sessions")).to_be_visible()


def test_changing_the_password_ends_the_other_sessions(
    console: Service, new_visit: NewVisit
) -> None:
    here = new_visit()
    here.sign_in()
    other = Visitor(console)
    other.sign_in()
    here.page.goto(PASSWORD_PAGE)
    here.page.get_by_label("Current password").fill(PASSWORD)
    here.page.get_by_label("New password", exact=True).fill(PASSWORD)
    here.page.get_by_label("Repeat new password").fill(f"{PASSWORD}, not")
    here.page.get_by_role("button", name="Change password").click()
    again = here.page.get_by_label("Repeat new password")
    expect(again).to_have_attribute("aria-invalid", "true")
    expect(again).to_have_accessible_description("The passwords do not match.")
    for label in ("Current password", "New password", "Repeat new password"):
        here.page.get_by_label(label, exact=True).fill(PASSWORD)
    here.page.get_by_role("button", name="Change password").click()
    expect(here.page.get_by_role("status")).to_contain_text("Password changed")
    assert not other.is_signed_in()


def test_without_javascript(new_visit: NewVisit) -> None:
    page = new_visit(java_script_enabled=False).page
    page.goto(PASSWORD_PAGE)
    fill_in(page)
    expect(page.get_by_role("heading", name="Password and sessions")).to_be_visible()
    expect(page.locator("time").first).to_contain_text("UTC")
    page.get_by_role("button", name="Sign out everywhere").click()
    expect(page).to_have_title("Sign in – Latchkey")


def test_with_the_keyboard_only(visit: Visit) -> None:
    page = visit.page
    page.goto("/console/sign-in")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("ada")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign out", exact=True)).to_be_visible()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Sign out":
            break
    width = "parseFloat(getComputedStyle(document.activeElement).outlineWidth)"
    assert page.evaluate(width) >= 2
    page.keyboard.press("Enter")
    expect(page).to_have_title("Sign in – Latchkey")


def test_times_are_in_the_viewers_time_zone(new_visit: NewVisit) -> None:
    here = new_visit(timezone_id="Asia/Tokyo")
    here.sign_in()
    here.page.goto(PASSWORD_PAGE)
    time = here.page.locator("time").first
    expect(time).not_to_contain_text("UTC")
    expect(time).to_have_attribute("title", time.get_attribute("title") or "")
    moment = time.get_attribute("datetime") or ""
    hour = int(moment[11:13])
    expect(time).to_contain_text(f"{(hour + 9) % 24:02}:{moment[14:16]}")
    assert (time.get_attribute("title") or "").endswith("UTC")


def test_a_phone_scrolls_in_one_direction(new_visit: NewVisit) -> None:
    phone = new_visit(viewport=PHONE, has_touch=True)
    phone.sign_in()
    phone.page.goto(PASSWORD_PAGE)
    expect(phone.page.get_by_role("row")).to_have_count(
        1 + len(phone.page.query_selector_all("tbody tr"))
    )
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
