"""Parts of an application: closed inside, open outside, and no path bypasses the check."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import EnvironBuilder, run_wsgi_app

from latchkey import (
    Latchkey,
    OpenRoutes,
    any_credential,
    current_principal,
    principal_or_none,
    require_scope,
)
from latchkey.check.open_routes import routes_of
from latchkey.errors import ConfigurationError
from tests.support.audited import TESTER
from tests.support.auth.plain_application import Answer, bearer

ONLY = ("/api/", "/büro/")


def call(
    application: Any, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> Answer:
    """Make one request, also with a path that no correct server passes on."""
    environ = EnvironBuilder(headers=list((headers or {}).items()), method=method).get_environ()
    body, status, received = run_wsgi_app(application, {**environ, "PATH_INFO": path})
    return Answer(int(status.split()[0]), dict(received), b"".join(body))


def shop() -> Flask:
    """An application with a secret inside of the parts, and public views outside."""
    app = Flask("shop")
    app.add_url_rule("/", "home", lambda: "public")
    app.add_url_rule("/apiary", "bees", lambda: "public")
    app.add_url_rule("/API/secret", "capitals", lambda: "public")

    @app.get("/api/secret")
    @any_credential
    def secret() -> str:
        return f"secret of {current_principal.name}"

    @app.get("/api/", strict_slashes=False)
    @require_scope("orders:read")
    def index() -> str:
        return "secret index"

    @app.get("/büro/secret")
    @any_credential
    def office() -> str:
        return "secret office"

    @app.get("/<path:anything>")
    def page(anything: str) -> str:
        principal = principal_or_none()
        return f"public {anything if principal is None else principal.name}"

    return app


@pytest.fixture
def app(latchkey: Latchkey) -> Flask:
    app = shop()
    latchkey.protect(app, only=ONLY)
    return app


@pytest.fixture
def key(latchkey: Latchkey) -> dict[str, str]:
    return bearer(latchkey.credentials.issue(name="all", caller=None, by=TESTER).secret)


INSIDE = ["/api/secret", "/api/nothing", "/api", "/api/", "/api//secret", "/b\xc3\xbcro/secret"]
# Flask matches these to the same views as those without the repeated slashes.
INSIDE += [
    "//api/secret",
    "///api//secret",
    "api/secret",
    "//api",
    "/api///",
    "//b\xc3\xbcro/secret",
]
OUTSIDE = ["/", "/apiary", "/API/secret", "/Api/", "/x/api/secret", "/./api/secret", "/\xff"]
PIECES = ["/", "api", "secret", "%", "a", ".", "A", "\xc3\xbc"]
OUTSIDE += [
    "/x/../api/secret",
    "/api%2Fsecret",
    "/%61pi/secret",
    "/api;x/secret",
    "/b\xfcro/secret",
]


@pytest.mark.parametrize("path", INSIDE)
def test_a_path_inside_needs_a_credential(app: Flask, key: dict[str, str], path: str) -> None:
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        assert call(app.wsgi_app, path, method=method).status == 401
    assert call(app.wsgi_app, path, key).status != 401


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_outside_needs_none(app: Flask, key: dict[str, str], path: str) -> None:
    for headers in ({}, key, bearer("sk_live_wrong"), {"X-Api-Key": "x"}):
        answer = call(app.wsgi_app, path, headers)
        assert answer.status == 200
        # A credential is ignored there.
        assert answer.body.startswith(b"public")
        assert b"all" not in answer.body


def test_a_rule_that_also_matches_outside_has_the_principal_inside(
    app: Flask, key: dict[str, str]
) -> None:
    assert call(app.wsgi_app, "/api/other", key).body == b"public all"
    assert call(app.wsgi_app, "/other", key).body == b"public other"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.sampled_from(PIECES), max_size=7))
@example(parts=["/", "/", "api", "/", "secret"])
def test_no_path_leads_around_the_check(app: Flask, parts: list[str]) -> None:
    path = "".join(parts)
    answer = call(app.wsgi_app, path)
    assert answer.status in (200, 308, 401, 404, 405)
    assert b"secret of" not in answer.body
    assert b"secret index" not in answer.body
    # Compiled code and the policy decide alike.
    assert (answer.status == 401) == (not routes_of(None, ONLY).admits("GET", path))


def test_the_path_below_a_mount_decides(app: Flask, key: dict[str, str]) -> None:
    """SCRIPT_NAME is no part of the path that the router matches."""
    mounted: Any = DispatcherMiddleware(Flask("other").wsgi_app, {"/api": app.wsgi_app})
    assert call(mounted, "/api/page").body == b"public page"
    assert call(mounted, "/api/api/secret").status == 401
    assert call(mounted, "/api/api/secret", key).body == b"secret of all"
    assert call(mounted, "/api/secret").body == b"public secret"


def test_a_rule_inside_is_closed_whatever_the_path(latchkey: Latchkey) -> None:
    """The rule that the router chose decides as well: here a hook changes the path."""
    app = shop()
    inner = app.wsgi_app

    def rewrite(environ: Any, start_response: Any) -> Any:
        environ["PATH_INFO"] = "/api/secret"
        return inner(environ, start_response)

    app.wsgi_app = rewrite  # type: ignore[method-assign]
    latchkey.protect(app, only=ONLY)
    assert call(app.wsgi_app, "/other").status == 401


def test_open_routes_and_areas_inside(latchkey: Latchkey) -> None:
    app = shop()
    app.add_url_rule("/api/health", "health", lambda: "well")
    app.add_url_rule("/api/docs/<name>", "docs", lambda name: name)
    app.add_url_rule("/api/open/<int:number>", "open", lambda number: str(number))
    routes = OpenRoutes(
        {("GET", "/api/health"), ("GET", "/api/open/<int:number>")}, areas=("/api/docs/",)
    )
    latchkey.protect(app, routes, only=ONLY)
    answers = {
        path: call(app.wsgi_app, path).status
        for path in ("/api/health", "/api/docs/x", "/api/open/5", "/api/open/x", "/api/x", "/")
    }
    assert list(answers.values()) == [200, 200, 200, 401, 401, 200]


def test_declarations_must_agree_with_the_parts(latchkey: Latchkey) -> None:
    app = shop()
    app.add_url_rule("/outside", "declared", any_credential(lambda: ""))
    with pytest.raises(
        ConfigurationError, match="outside of /api/, /büro/: add its path to `only`"
    ):
        latchkey.protect(app, only=ONLY)
    app = shop()
    app.add_url_rule("/api/forgotten", "forgotten", lambda: "")
    with pytest.raises(ConfigurationError, match="protected route GET /api/forgotten declares no"):
        latchkey.protect(app, only=ONLY)


@pytest.mark.parametrize(
    "only", [(), "/api/", ("api/",), ("/api",), ("",), ("/<x>/",), ("/a//b/",), ("//",)]
)
def test_parts_that_could_protect_nothing_are_refused(latchkey: Latchkey, only: Any) -> None:
    app = shop()
    with pytest.raises(ValueError, match=r"only must be|not a part of an application"):
        latchkey.protect(app, only=only)
    assert "latchkey" not in app.extensions


def test_the_part_of_everything(latchkey: Latchkey) -> None:
    app = Flask("all")
    latchkey.protect(app, only=("/",))
    assert {call(app.wsgi_app, path).status for path in ("/", "", "//", "/x", "*")} == {401}


def test_the_parts_of_any_wsgi_application(latchkey: Latchkey, key: dict[str, str]) -> None:
    app = latchkey.middleware(Flask("plain").wsgi_app, only=("/api/",))
    assert call(app, "/x").status == 404
    assert call(app, "/api/x").status == 401
    assert call(app, "/api/x", key).status == 404
