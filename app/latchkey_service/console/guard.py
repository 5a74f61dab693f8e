"""What stands before and behind every page of the console: default deny, and headers.

Every request without a session leads to the sign-in, also one for a page that does not exist,
except for what is marked by ``open_to_all`` and the static files.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from flask import Flask, Response, redirect, request, url_for
from flask_login import current_user
from flask_wtf import CSRFProtect
from werkzeug.wrappers import Response as AnyResponse

from latchkey.config import Settings
from latchkey.credentials.tokens import redact_secrets
from latchkey_service.console.error_pages import error_page
from latchkey_service.console.sessions import administrator_service, browser_session, latchkey
from latchkey_service.console.transport import AllowedHosts, is_tls

View = TypeVar("View", bound=Callable[..., object])

STATIC = "static"

_HSTS = f"max-age={365 * 24 * 3600}"
_FOREIGN_HOST = (
    "The console does not answer to this host name. LATCHKEY_CONSOLE_HOSTS lists those that it "
    "answers to."
)
_OPEN = "__latchkey_open_to_all__"
# Nothing inline, nothing from elsewhere, no page of others around it.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def open_to_all(view: View) -> View:
    """Let a view be asked without a session."""
    setattr(view, _OPEN, True)
    return view


def is_open(app: Flask, endpoint: str | None) -> bool:
    """Whether a view, or what there is in place of one, needs no session."""
    if endpoint is None:
        return False
    return endpoint == STATIC or hasattr(app.view_functions[endpoint], _OPEN)


def guard(app: Flask, settings: Settings) -> None:
    """Put the checks before every view of the console, in their order, and the headers behind."""
    hosts = AllowedHosts(settings.console_hosts, settings.public_url)
    csrf = CSRFProtect()
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False
    # As long as the session.
    app.config["WTF_CSRF_TIME_LIMIT"] = None
    csrf.init_app(app)

    @app.before_request
    def check() -> AnyResponse | None:
        if not hosts.allow(request.host):
            return error_page(HTTPStatus.BAD_REQUEST, _FOREIGN_HOST)
        if request.endpoint == STATIC:
            return None
        browser_session().load(administrator_service())
        if not is_open(app, request.endpoint) and not current_user.is_authenticated:
            return _lead_to_sign_in()
        if request.endpoint is not None:
            csrf.protect()
        return None

    app.after_request(_add_headers)


def _add_headers(response: Response) -> Response:
    """What every answer of the console carries; pages are kept by no cache."""
    response.headers.update(_HEADERS)
    if is_tls(request.environ, latchkey().settings):
        response.headers["Strict-Transport-Security"] = _HSTS
    if request.endpoint != STATIC or response.status_code >= 400:
        response.headers["Cache-Control"] = "no-store"
    return response


def _lead_to_sign_in() -> AnyResponse:
    """To the sign-in, and from there back to the page, where that was only to be shown."""
    path = request.full_path.removesuffix("?")
    shown = request.method == "GET" and request.endpoint not in (None, "home")
    back = path if shown and redact_secrets(path) == path else None
    return redirect(url_for("sign_in.show", next=back), 303)
