"""The sessions of the console: a random token in a cookie, and the state in the database.

This replaces Flask's session interface. The browser stores only the token, and the database is not
read before the checks that need no session. A browser that is not signed in has a token too, which
is not stored; it only binds forms to this browser.
"""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Any, cast

from flask import Flask, Request, Response, current_app, g, request, session
from flask.sessions import SessionInterface, SessionMixin
from flask_login import LoginManager, UserMixin, current_user, login_user
from werkzeug.datastructures import CallbackDict

from latchkey.assembly import Latchkey
from latchkey.credentials.administrators import Administrator, ConsoleSession
from latchkey.credentials.audit import Actor
from latchkey.errors import StoreError
from latchkey_service.administrators.service import Administrators, new_token
from latchkey_service.console.transport import is_tls

log = logging.getLogger("latchkey")

_AREA = "/console/"
_COOKIE = "latchkey_console"
# Browsers accept this prefix only over HTTPS, for this host alone, and for all paths.
_COOKIE_UNDER_TLS = f"__Host-{_COOKIE}"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_CSRF_LABEL = "latchkey.v1.console.csrf:"
_CSRF = "csrf_token"
_MESSAGES = "_flashes"


class SignedIn(UserMixin):  # type: ignore[misc]
    """An administrator, as a user of Flask-Login."""

    def __init__(self, administrator: Administrator) -> None:
        self.id = str(administrator.id)
        self.administrator = administrator


class BrowserSession(CallbackDict[str, Any], SessionMixin):
    """The session of a browser. ``found`` is the stored session if somebody is signed in."""

    def __init__(self, token: str | None) -> None:
        super().__init__(on_update=BrowserSession._note_change)
        self.presented = token is not None
        self.found: ConsoleSession | None = None
        self.sends_cookie = False
        self.forgets_cookie = False
        self.modified = False
        self._take(new_token() if token is None else token)

    def load(self, administrators: Administrators) -> None:
        """Load the stored session of the token, if there is one; raises StoreError."""
        if not self.presented:
            return
        self.found = administrators.session(self._token)
        if self.found is not None:
            self["_user_id"] = str(self.found.administrator.id)
            self["_fresh"] = True
            if self.found.messages:
                self[_MESSAGES] = list(self.found.messages)
        self.modified = False

    def renew(self, token: str, administrators: Administrators) -> None:
        """Continue with the token of a new session, which nobody can have known before."""
        self.clear()
        self.presented = True
        self._take(token)
        self.load(administrators)
        self.sends_cookie = True
        if self.found is not None:
            login_user(SignedIn(self.found.administrator))

    def forget(self) -> None:
        """Delete the cookie of the browser."""
        self.clear()
        self.found = None
        self.forgets_cookie = True

    @property
    def token(self) -> str:
        """What the cookie holds."""
        return self._token

    @property
    def messages(self) -> list[tuple[str, str]]:
        """The messages for the next page: categories and texts."""
        return list(self.get(_MESSAGES, ()))

    def _take(self, token: str) -> None:
        self._token = token
        # The CSRF token of forms. It is derived from the session token, so it need not be stored.
        self[_CSRF] = hashlib.sha256(f"{_CSRF_LABEL}{token}".encode()).hexdigest()

    def _note_change(self) -> None:
        self.modified = True


class ConsoleSessions(SessionInterface):
    """Flask's interface to sessions. Reading the database is left to ``BrowserSession.load``."""

    def open_session(self, app: Flask, request: Request) -> BrowserSession:
        """The session of the cookie's token, or a new one if the token is malformed."""
        token = request.cookies.get(_cookie_name())
        return BrowserSession(token if token is not None and _TOKEN.fullmatch(token) else None)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Set or delete the cookie, and store the messages for the next page."""
        session = cast(BrowserSession, session)
        if session.forgets_cookie:
            response.delete_cookie(_cookie_name(), **_cookie_terms())
        elif session.sends_cookie or (not session.presented and _CSRF in g):
            response.set_cookie(_cookie_name(), session.token, **_cookie_terms())
        if session.modified and session.found is not None:
            if tuple(session.messages) != session.found.messages:
                try:
                    administrator_service().tell(session.found, session.messages)
                except StoreError as error:
                    # The page itself is complete and correct; only a message is lost.
                    log.error("database failure: %s", error.detail)


def add_sessions(app: Flask) -> None:
    """Register the sessions and Flask-Login."""
    app.session_interface = ConsoleSessions()
    manager = LoginManager()
    manager.session_protection = None
    manager.login_view = "sign_in.show"
    manager.init_app(app)
    manager.user_loader(_user)


def browser_session() -> BrowserSession:
    """The session of the request that is being handled."""
    found: BrowserSession = session._get_current_object()  # type: ignore[attr-defined]
    return found


def current_administrator() -> Administrator | None:
    """The administrator who is signed in; None if nobody is."""
    found: Administrator | None = getattr(current_user, "administrator", None)
    return found


def signed_in() -> Administrator:
    """The administrator who is signed in, for views that need a session."""
    found = current_administrator()
    if found is None:
        raise RuntimeError("nobody is signed in: the view is open to all")
    return found


def latchkey() -> Latchkey:
    """The parts of the worker, for views of the console."""
    parts: Latchkey = current_app.extensions["latchkey"]
    return parts


def administrator_service() -> Administrators:
    """The service for the administrators of the console."""
    service: Administrators = current_app.extensions["latchkey_administrators"]
    return service


def caller_address() -> str | None:
    """The client's address, for the audit log; None if a unix socket provides none."""
    return latchkey().addresses.written(request.environ)


def signed_in_actor() -> Actor:
    """The administrator who is signed in, as an actor in the audit log."""
    return Actor.administrator(signed_in().name, caller_address())


def _user(user_id: str) -> SignedIn | None:
    """Called by Flask-Login for the id in the session, which already has the administrator."""
    found = browser_session().found
    if found is None or str(found.administrator.id) != user_id:
        return None
    return SignedIn(found.administrator)


def _cookie_name() -> str:
    return _COOKIE_UNDER_TLS if is_tls(request.environ, latchkey().settings) else _COOKIE


def _cookie_terms() -> dict[str, Any]:
    tls = is_tls(request.environ, latchkey().settings)
    return {
        "path": "/" if tls else _AREA,
        "secure": tls,
        "httponly": True,
        "samesite": "Lax",
    }
