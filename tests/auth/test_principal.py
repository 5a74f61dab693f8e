"""The principal of a request: in views, hooks and logs, and without a principal."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, abort, stream_with_context

from latchkey import Latchkey, OpenRoutes, any_credential, current_principal, principal_or_none
from latchkey.credentials.models import Principal
from latchkey.errors import NoPrincipal
from tests.support.audited import TESTER
from tests.support.auth.plain_application import bearer


class Hooked:
    """An application that uses the principal in every place that Flask calls."""

    def __init__(self, latchkey: Latchkey) -> None:
        self.seen: dict[str, str | None] = {}
        self.site = site = Flask("site")
        open_routes = OpenRoutes({("GET", "/"), ("GET", "/broken"), ("GET", "/stream")})
        latchkey.protect(site, open_routes)
        site.before_request(lambda: self.note("before_request"))
        site.after_request(self.after)
        site.teardown_request(lambda error: self.note("teardown_request"))
        site.teardown_appcontext(lambda error: self.note("teardown_appcontext"))
        site.context_processor(lambda: {"principal": principal_or_none()})
        site.register_error_handler(404, self.missing)
        site.register_error_handler(ValueError, self.failed)
        for path, view in (("/", self.home), ("/broken", self.broken), ("/stream", self.stream)):
            site.add_url_rule(path, path, view)
            site.add_url_rule(f"/closed{path}", f"closed{path}", any_credential(self.closed(view)))
        self.key = latchkey.credentials.issue(name="shop", caller=None, by=TESTER)

    @staticmethod
    def closed(view: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: view()

    def note(self, place: str) -> None:
        principal = principal_or_none()
        self.seen[place] = None if principal is None else principal.name

    def after(self, response: Response) -> Response:
        self.note("after_request")
        return response

    def missing(self, error: object) -> tuple[str, int]:
        self.note("error_handler")
        return "missing", 404

    def failed(self, error: object) -> tuple[str, int]:
        self.note("error_handler")
        return "failed", 500

    def home(self) -> str:
        self.note("view")
        return "home"

    def broken(self) -> str:
        raise ValueError

    def stream(self) -> Response:
        def parts() -> Iterator[str]:
            self.note("stream")
            yield "x"

        return Response(stream_with_context(parts()))

    def get(self, path: str, known: bool) -> tuple[int, dict[str, str | None]]:
        self.seen.clear()
        headers = bearer(self.key.secret) if known else {}
        answer = self.site.test_client().get(path, headers=headers)
        answer.get_data()
        return answer.status_code, dict(self.seen)


@pytest.fixture
def hooked(latchkey: Latchkey) -> Hooked:
    return Hooked(latchkey)


HOOKS = ("before_request", "after_request", "teardown_request")


@pytest.mark.parametrize(
    ("path", "status", "place"),
    [("/", 200, "view"), ("/broken", 500, "error_handler"), ("/stream", 200, "stream")],
)
def test_hooks_get_the_principal_or_none(
    hooked: Hooked, path: str, status: int, place: str
) -> None:
    for known, prefix in ((False, ""), (True, "/closed")):
        answered, seen = hooked.get(f"{prefix}{path}", known)
        name = "shop" if known else None
        assert answered == status
        assert {seen[hook] for hook in (*HOOKS, place)} == {name}
        # There is no request any more.
        assert seen["teardown_appcontext"] is None


def test_an_error_handler_of_a_route_that_does_not_exist(hooked: Hooked) -> None:
    assert hooked.get("/nowhere", known=True) == (
        404,
        {**dict.fromkeys((*HOOKS, "error_handler"), "shop"), "teardown_appcontext": None},
    )
    assert hooked.get("/nowhere", known=False) == (401, {})


def test_a_log_filter_works_everywhere(
    latchkey: Latchkey, hooked: Hooked, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("tests.principal")
    caplog.set_level(logging.INFO, "tests.principal")

    class AddKey(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            principal = principal_or_none()
            record.api_key = None if principal is None else principal.api_key
            return True

    added = AddKey()
    logger.addFilter(added)
    try:
        hooked.site.before_request(lambda: logger.info("asked by %s", current_principal))
        hooked.get("/", known=False)
        hooked.get("/closed/", known=True)
        logger.info("outside: %s, %r", current_principal, current_principal)
        thread = threading.Thread(target=logger.info, args=("in a thread",))
        thread.start()
        thread.join()
    finally:
        logger.removeFilter(added)
    key = hooked.key.credential.api_key
    records = [record for record in caplog.records if record.name == "tests.principal"]
    assert [record.api_key for record in records] == [None, key, None, None]  # type: ignore[attr-defined]
    said = [record.message for record in records]
    assert said[0] == "asked by <no principal>"
    assert key in said[1]
    assert said[2] == "outside: <no principal>, <no principal>"
    assert hooked.key.secret not in caplog.text


def test_the_proxy_is_strict_without_a_principal(hooked: Hooked) -> None:
    for context in (hooked.site.app_context(), hooked.site.test_request_context("/")):
        with context:
            absent()
    absent()


def absent() -> None:
    assert principal_or_none() is None
    for name in ("api_key", "name", "no_such_name"):
        with pytest.raises(NoPrincipal, match="principal_or_none"):
            getattr(current_principal, name)
        assert getattr(current_principal, name, None) is None
        assert not hasattr(current_principal, name)
    assert issubclass(NoPrincipal, RuntimeError)
    # Operations of log lines and templates.
    assert bool(current_principal) is False
    assert repr(current_principal) == str(current_principal) == "<no principal>"
    assert f"{current_principal:>40}" == f"{current_principal!s:>40}"
    assert dir(current_principal) == []


def test_the_proxy_behaves_like_the_principal(hooked: Hooked) -> None:
    principal = Principal(1, "acct", "ak_live_x", "live", "n", frozenset({"*"}), None)
    environ = {"latchkey.principal": principal}
    with hooked.site.test_request_context("/", environ_overrides=environ):
        assert principal_or_none() is principal
        assert current_principal == principal
        assert bool(current_principal)
        assert repr(current_principal) == str(current_principal) == repr(principal)
        assert isinstance(current_principal, Principal)
        with pytest.raises(AttributeError, match="no_such_name") as unknown:
            current_principal.no_such_name  # type: ignore[attr-defined]  # noqa: B018
        assert not isinstance(unknown.value, NoPrincipal)


def test_abort_in_a_hook_of_an_open_route(latchkey: Latchkey) -> None:
    site = Flask("site")
    latchkey.protect(site, OpenRoutes({("GET", "/")}))
    site.add_url_rule("/", "home", lambda: "home")
    site.before_request(lambda: None if principal_or_none() else abort(418))
    assert site.test_client().get("/").status_code == 418
