"""The pages that are checked by axe and shown in screenshots."""

from __future__ import annotations

from dataclasses import dataclass

from playwright.sync_api import Page


@dataclass(frozen=True)
class Shown:
    """A page: its name, its path, and whether it needs a session.

    The path may contain names of the demonstration's keys and accounts, as ``{billing}``. With
    ``press``, the page is the response to that button, with the field Name filled in.
    """

    name: str
    path: str
    signed_in: bool = True
    press: str | None = None

    def open(self, page: Page, path: str) -> None:
        """Open the page in the browser; ``path`` is its path with the keys inserted."""
        page.goto(path)
        if self.press is not None:
            page.get_by_label("Name", exact=True).fill("Nightly export")
            with page.expect_navigation():
                page.get_by_role("button", name=self.press, exact=True).click()


PAGES: tuple[Shown, ...] = (
    Shown("sign-in", "/console/sign-in", signed_in=False),
    Shown("set-up-over", "/console/set-up", signed_in=False),
    Shown("keys", "/console/keys/"),
    Shown("keys-none", "/console/keys/?q=nothing+like+that"),
    Shown("key", "/console/keys/{billing}"),
    Shown("key-rotated", "/console/keys/{storefront}"),
    Shown("create", "/console/keys/new"),
    Shown("created", "/console/keys/new", press="Create"),
    Shown("register", "/console/keys/register"),
    Shown("edit", "/console/keys/{billing}/edit"),
    Shown("rotate", "/console/keys/{billing}/rotate"),
    Shown("rotate-refused", "/console/keys/{storefront}/rotate"),
    Shown("revoke", "/console/keys/{billing}/revoke"),
    Shown("key-limited", "/console/keys/{limited}"),
    Shown("limits", "/console/keys/{limited}/edit"),
    Shown("limits-reset", "/console/keys/{limited}/reset-limits"),
    Shown("account-limits-reset", "/console/accounts/{acme}/reset-limits"),
    Shown("create-for-account", "/console/keys/new?account={acme}"),
    Shown("keys-of-account", "/console/keys/?account={globex}"),
    Shown("accounts", "/console/accounts/"),
    Shown("account", "/console/accounts/{acme}"),
    Shown("account-disabled", "/console/accounts/{globex}"),
    Shown("account-erased", "/console/accounts/{initech}"),
    Shown("account-create", "/console/accounts/new"),
    Shown("account-edit", "/console/accounts/{acme}/edit"),
    Shown("account-disable", "/console/accounts/{acme}/disable"),
    Shown("account-enable", "/console/accounts/{globex}/enable"),
    Shown("account-revoke-keys", "/console/accounts/{acme}/revoke-keys"),
    Shown("overview", "/console/overview/"),
    Shown("audit", "/console/audit/"),
    Shown("password", "/console/password/"),
    Shown("not-found", "/console/nowhere"),
)
