"""The Flask application of the console: its hooks, in order, its pages and its error pages."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from threading import BoundedSemaphore
from typing import IO, Any

from flask import Flask, Request, current_app, redirect, url_for
from werkzeug.utils import cached_property
from werkzeug.wrappers import Response

from latchkey.assembly import Latchkey
from latchkey.wording import counted
from latchkey_service.administrators.service import Administrators
from latchkey_service.bodies import read_body
from latchkey_service.console.error_pages import answer_errors
from latchkey_service.console.forms import described
from latchkey_service.console.guard import STATIC, guard
from latchkey_service.console.pages import PAGES, ConsolePage
from latchkey_service.console.sessions import add_sessions, current_administrator
from latchkey_service.console.sign_in import sign_in
from latchkey_service.url_map import PlainMap

_LARGEST_BODY = 64 * 1024
_YEAR = 365 * 24 * 3600


class FormRequest(Request):
    """A request whose body is read completely, up to a limit, before the form is parsed."""

    max_content_length = _LARGEST_BODY

    # Not functools.cached_property: before Python 3.12, it makes all threads wait for one body.
    @cached_property
    def stream(self) -> IO[bytes]:
        """The body; raises PayloadTooLarge, or InvalidRequest if it is incomplete."""
        return BytesIO(read_body(self.environ, self.content_length, _LARGEST_BODY))


class Console(Flask):
    """The application class, with limited bodies and routing by method and path."""

    request_class = FormRequest
    url_map_class = PlainMap


def build_console(latchkey: Latchkey) -> Flask:
    """Create the console for a worker; its views use ``extensions["latchkey"]``."""
    app = Console("latchkey_service.console", static_url_path="/console/static")
    app.url_map.merge_slashes = False
    app.extensions["latchkey"] = latchkey
    app.extensions["latchkey_administrators"] = Administrators.over(
        latchkey.store.administrators, latchkey.publisher, latchkey.settings
    )
    app.extensions["exports"] = BoundedSemaphore(max(1, latchkey.settings.threads // 2))
    app.config.update(
        SECRET_KEY=latchkey.derivation.newest.console_key,
        PROVIDE_AUTOMATIC_OPTIONS=False,
        SEND_FILE_MAX_AGE_DEFAULT=_YEAR,
    )
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    app.jinja_env.globals.update(described=described, counted=counted)
    add_sessions(app)
    guard(app, latchkey.settings)
    app.url_defaults(_name_version)
    app.context_processor(_navigation)
    app.register_blueprint(sign_in)
    for page in _pages(app):
        app.register_blueprint(page.blueprint)
    app.add_url_rule("/console/", "home", _show_home)
    answer_errors(app)
    return app


def _show_home() -> Response:
    """The first page of the navigation."""
    return redirect(url_for(next(page.endpoint for page in PAGES if page.title)), 303)


def _pages(app: Flask) -> list[ConsolePage]:
    """The pages that the console has for the database in use."""
    shared = app.extensions["latchkey"].store.boxes is not None
    return [page for page in PAGES if shared or not page.for_boxes]


def _navigation() -> dict[str, Any]:
    """The variables of all templates: the navigation links and the administrator."""
    return {
        "pages": [page for page in _pages(current_app) if page.title],
        "signed_in": current_administrator(),
    }


def _name_version(endpoint: str, values: dict[str, Any]) -> None:
    """Add a hash of the content to the URLs of static files, which are cached for a year."""
    if endpoint == STATIC and "filename" in values:
        values["v"] = _version(values["filename"])


@lru_cache(maxsize=64)
def _version(filename: str) -> str:
    path = Path(__file__).parent / "static" / filename
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
