"""The browser: which program, how it is started, and faults that no page may have."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.console.visitor import Visitor
from tests.support.service import Service

# The headless shell needs a third of the time, and renders the same.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

_TIMEOUT_MS = 60_000
# No requests by the browser itself, only those of the pages.
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-software-rasterizer",
    "--renderer-process-limit=1",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, started once for many visits."""
    with sync_playwright() as playwright:
        expect.set_options(timeout=_TIMEOUT_MS)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A browser profile with one open page of the console.

    ``faults`` lists what no page may do: fail in a script, violate its own policy, or request a
    resource elsewhere.
    """

    def __init__(self, browser: Browser, service: Service, **options: Any) -> None:
        self.service = service
        self.faults: list[str] = []
        self.context: BrowserContext = browser.new_context(
            base_url=service.url, **{"viewport": DESKTOP, "locale": "en-GB", **options}
        )
        self.context.set_default_timeout(_TIMEOUT_MS)
        self.context.on("request", lambda request: self._require_ours(request.url))
        self.page: Page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        self.page.on("console", lambda message: self._note(message.type, message.text))

    def sign_in(self, visitor: Visitor | None = None) -> None:
        """Use the session of a visitor, or a new one of ada. The form itself has its own tests."""
        if visitor is None:
            visitor = Visitor(self.service)
            if visitor.sign_in().status != 303:
                raise RuntimeError("not signed in")
        for cookie, value in visitor.cookies.items():
            self.context.add_cookies(
                [{"name": cookie, "value": value, "url": f"{self.service.url}/console/"}]
            )

    def close(self) -> None:
        """Close the profile and delete it."""
        self.context.close()

    def _require_ours(self, url: str) -> None:
        if not url.startswith(f"{self.service.url}/"):
            self.faults.append(f"asked for {url}")

    def _note(self, kind: str, text: str) -> None:
        # An error status of a page is not a fault of the page.
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.faults.append(f"console: {text}")
