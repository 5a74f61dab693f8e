"""The checks before every view of the console, and the headers of every response.

A request without a session is redirected to the sign-in page, even if the requested page does not
exist. Exceptions are static files and views that are marked with ``open_to_all``.
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
    "The console does not accept this host name. To allow it, add it to LATCHKEY_CONSOLE_HOSTS."
)
_OPEN = "__latchkey_open_to_all__"
# No inline code, no resources of other origins, no embedding in other pages.
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
    """Allow requests to this view without a session."""
    setattr(view, _OPEN, True)
    return view


def is_open(app: Flask, endpoint: str | None) -> bool:
    """Whether an endpoint needs no session."""
    if endpoint is None:
        return False
    return endpoint == STATIC or hasattr(app.view_functions[endpoint], _OPEN)


def guard(app: Flask, settings: Settings) -> None:
    """Register the checks before every view, in their order, and the headers of responses."""
    hosts = AllowedHosts(settings.console_hosts, settings.public_url)
    csrf = CSRFProtect()
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False
    # A token is valid as long as its session.
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
            return _redirect_to_sign_in()
        if request.endpoint is not None:
            csrf.protect()
        return None

    app.after_request(_add_headers)


def _add_headers(response: Response) -> Response:
    """Add the headers of all responses of the console. Pages are not cached."""
    response.headers.update(_HEADERS)
    if is_tls(request.environ, latchkey().settings):
        response.headers["Strict-Transport-Security"] = _HSTS
    if request.endpoint != STATIC or response.status_code >= 400:
        response.headers["Cache-Control"] = "no-store"
    return response


def _redirect_to_sign_in() -> AnyResponse:
    """Redirect to the sign-in page, which leads back to the requested page after a GET."""
    path = request.full_path.removesuffix("?")
    shown = request.method == "GET" and request.endpoint not in (None, "home")
    back = path if shown and redact_secrets(path) == path else None
    return redirect(url_for("sign_in.show", next=back), 303)
