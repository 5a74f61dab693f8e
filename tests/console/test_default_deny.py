"""Default deny in the console: without a session, all requests lead to the sign-in page."""

from __future__ import annotations

import re

import pytest

from latchkey import Latchkey
from latchkey.config import load_settings
from latchkey_service.console.application import build_console
from tests.support.service import Service

# The responses to a client without a session: a form, a missing token, link or file.
OPEN = {
    ("GET", "/console/sign-in"): 200,
    ("POST", "/console/sign-in"): 400,
    ("GET", "/console/set-up"): 403,
    ("POST", "/console/set-up"): 400,
    ("GET", "/console/static/x"): 404,
}
NOWHERE = (
    "/console/nowhere",
    "/console/keys",
    "/console/static",
    "/console/sign-in/",
    "/console/x/y",
)


@pytest.fixture(scope="module")
def routes(service: Service) -> list[tuple[str, str]]:
    """Each route of the console, with a method that it supports."""
    console = build_console(Latchkey.from_settings(load_settings(service.settings)))
    return [
        (method, re.sub(r"<[^>]+>", "x", rule.rule))
        for rule in console.url_map.iter_rules()
        for method in sorted(rule.methods or ())
        # Paths that the router of the service forwards, but that have no page.
        if method != "OPTIONS"
    ]


def test_every_route_redirects_to_the_sign_in_page_without_a_session(
    service: Service, routes: list[tuple[str, str]]
) -> None:
    asked = 0
    for method, path in [*routes, *(("GET", path) for path in NOWHERE)]:
        answer = service.request(method, path)
        open_to = ("GET" if method == "HEAD" else method), path
        if open_to in OPEN:
            assert answer.status == OPEN[open_to], (method, path)
            continue
        assert answer.status == 303, (method, path)
        assert answer.headers["location"].partition("?")[0] == "/console/sign-in", (method, path)
        asked += 1
    assert asked > len(NOWHERE)


def test_a_credential_of_the_api_is_not_accepted(service: Service) -> None:
    answer = service.get("/console/password/", service.issue().bearer)
    assert answer.status == 303
    assert answer.headers["location"] == "/console/sign-in?next=/console/password/"


def test_other_methods_are_refused_by_the_router(service: Service) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE"):
        assert service.request(method, "/console/password/").status == 405
