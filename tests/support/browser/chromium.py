"""The browser: which one, how it is started, and what a page of the console may not do in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support.console.visitor import Visitor
from tests.support.service import Service

# Without the parts that draw windows it takes a third of the time; it shows the same.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

_TIMEOUT_MS = 15_000
# Nothing that a browser does on its own: no request but those of the pages.
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
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """One profile of the browser at the console of a service, with one page open.

    ``faults`` are what no page may do: to fail in a script, to break its own policy, to ask for
    anything elsewhere.
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
        """Go on in the session of a visitor; of ada, in a new one, without. The form has tests."""
        if visitor is None:
            visitor = Visitor(self.service)
            if visitor.sign_in().status != 303:
                raise RuntimeError("not signed in")
        for cookie, value in visitor.cookies.items():
            self.context.add_cookies(
                [{"name": cookie, "value": value, "url": f"{self.service.url}/console/"}]
            )

    def close(self) -> None:
        """Close the profile, and forget it."""
        self.context.close()

    def _require_ours(self, url: str) -> None:
        if not url.startswith(f"{self.service.url}/"):
            self.faults.append(f"asked for {url}")

    def _note(self, kind: str, text: str) -> None:
        # That a page was answered by an error status is no fault of the page's.
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.faults.append(f"console: {text}")
