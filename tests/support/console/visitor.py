"""A client of the console without a browser: keeps cookies, and submits forms."""

from __future__ import annotations

import re
import subprocess
from html.parser import HTMLParser
from http.client import HTTPConnection, HTTPMessage
from http.cookies import SimpleCookie
from urllib.parse import urlencode

from tests.support.latchkey_command import run_here
from tests.support.service import Service

PASSWORD = "correct horse battery"

_LINK = re.compile(r"http://127\.0\.0\.1:\d+(/console/set-up\?token=[A-Za-z0-9_-]{43})\n")


class Page:
    """A response: the status, its headers, and the content of the page."""

    def __init__(self, status: int, headers: HTTPMessage, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.text = body.decode()
        self.forms: list[tuple[str, dict[str, str]]] = []
        _Forms(self.forms).feed(self.text)

    @property
    def location(self) -> str:
        """The target of a redirect."""
        return self.headers["Location"] or ""

    @property
    def cookies(self) -> list[str]:
        """The cookies that were set, with their attributes."""
        return self.headers.get_all("Set-Cookie", [])

    def fields(self, action: str) -> dict[str, str]:
        """The hidden fields of the form with this ``action``."""
        return next(dict(fields) for sent_to, fields in self.forms if sent_to == action)


class _Forms(HTMLParser):
    def __init__(self, forms: list[tuple[str, dict[str, str]]]) -> None:
        super().__init__()
        self._forms = forms

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag == "form":
            self._forms.append((values.get("action", ""), {}))
        elif tag == "input" and values.get("type") == "hidden":
            self._forms[-1][1][values["name"]] = values.get("value", "")


class Visitor:
    """The cookies of one browser. ``headers`` are sent with each request."""

    def __init__(self, service: Service, **headers: str) -> None:
        self.service = service
        self.headers = headers
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> Page:
        return self.request("GET", path, None, headers)

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Page:
        return self.request("POST", path, urlencode(fields).encode(), headers)

    def send(self, shown_at: str, action: str, **fields: str) -> Page:
        """Open a page, fill in its form, and submit it."""
        return self.post(action, {**self.get(shown_at).fields(action), **fields})

    def sign_in(self, name: str = "ada", password: str = PASSWORD, **fields: str) -> Page:
        """Submit the sign-in form."""
        return self.send(
            "/console/sign-in", "/console/sign-in", name=name, password=password, **fields
        )

    def is_signed_in(self) -> bool:
        """Whether this visitor is signed in."""
        return self.get("/console/password/").status == 200

    def request(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Page:
        sent = {**self.headers, **headers}
        if body is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = HTTPConnection("127.0.0.1", self.service.port, timeout=60)
        try:
            connection.request(
                method, path, body, {k.replace("_", "-"): v for k, v in sent.items()}
            )
            answer = connection.getresponse()
            page = Page(answer.status, answer.headers, answer.read())
        finally:
            connection.close()
        for cookie in page.cookies:
            for name, morsel in SimpleCookie(cookie).items():
                self.cookies[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.cookies[name]
        return page


def admin(
    service: Service, *arguments: str, password: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``latchkey admin`` with a password on standard input."""
    if password is None:
        return run_here(service, "admin", *arguments)
    given = f"{password}\n"
    return run_here(service, "admin", *arguments, "--password-stdin", standard_input=given)


def make_administrator(service: Service, name: str = "ada", password: str = PASSWORD) -> None:
    """Create an administrator on the command line."""
    made = admin(service, "create", name, password=password)
    if made.returncode:
        raise RuntimeError(made.stderr)


def set_up_path(service: Service) -> str:
    """The path of a new set-up link, from the output of ``init``."""
    found = _LINK.search(run_here(service, "init").stdout)
    if found is None:
        raise RuntimeError("no link was printed")
    return found[1]
