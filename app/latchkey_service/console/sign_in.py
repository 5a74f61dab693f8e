"""Sign-in, sign-out, and the set-up link for the first administrator."""

from __future__ import annotations

from string import ascii_letters, digits

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from latchkey.credentials.tokens import redact_secrets
from latchkey.errors import ApiError, InvalidField, PasswordsBusy, TooManyFailures
from latchkey_service.console.forms import SetUpForm, SignInForm, add_fault
from latchkey_service.console.guard import open_to_all
from latchkey_service.console.sessions import (
    administrator_service,
    browser_session,
    caller_address,
    current_administrator,
    latchkey,
    signed_in,
)
from latchkey_service.console.throttle import SignInThrottle

sign_in = Blueprint("sign_in", __name__, url_prefix="/console")

_WRONG = "Wrong name or password."
_TOO_MANY = "Too many attempts. Wait a moment, then try again."
_HOME = "/console/"
_LONGEST_PAGE = 2048
_IN_SEGMENT = frozenset(ascii_letters + digits + "_-.")
_IN_QUERY = _IN_SEGMENT | frozenset("~%&=+,:")


@sign_in.get("/sign-in")
@open_to_all
def show() -> AnyResponse:
    """Show the sign-in form."""
    if current_administrator() is not None:
        return redirect(url_for("home"), 303)
    form = SignInForm()
    form.next.data = own_page(request.args.get("next"))
    return _page(form)


@sign_in.post("/sign-in")
@open_to_all
def begin() -> AnyResponse:
    """Start a session. The response and the work are the same for a wrong name or password."""
    form = SignInForm()
    if not form.validate():
        return _page(form, status=400)
    name, password = form.name.data or "", form.password.data or ""
    parts = latchkey()
    try:
        # Reserve the place first: an attempt that is not processed must not count.
        with administrator_service().place():
            SignInThrottle(parts.settings, parts.shared, parts.addresses).count(
                request.environ, name
            )
            token = administrator_service().sign_in(name, password, caller_address())
    except TooManyFailures as limited:
        return _later(form, _TOO_MANY, limited)
    except PasswordsBusy as busy:
        return _later(form, f"{busy.message}.", busy)
    if token is None:
        return _page(form, _WRONG, 403)
    browser_session().renew(token, administrator_service())
    return redirect(own_page(form.next.data) or url_for("home"), 303)


@sign_in.post("/sign-out")
def sign_out() -> AnyResponse:
    """End this session."""
    session = browser_session()
    if session.found is not None:
        administrator_service().sign_out(session.found, caller_address())
    session.forget()
    return redirect(url_for("sign_in.show"), 303)


@sign_in.post("/sign-out-everywhere")
def sign_out_everywhere() -> AnyResponse:
    """End all sessions of the administrator."""
    administrator_service().sign_out_everywhere(signed_in(), caller_address())
    browser_session().forget()
    return redirect(url_for("sign_in.show"), 303)


@sign_in.get("/set-up")
@open_to_all
def show_set_up() -> AnyResponse:
    """Show the form for the first administrator, if the link is valid."""
    form = SetUpForm()
    form.token.data = request.args.get("token", "")
    return _set_up_page(form)


@sign_in.post("/set-up")
@open_to_all
def set_up() -> AnyResponse:
    """Create the first administrator and sign in. The link is no longer valid."""
    form = SetUpForm()
    if not form.validate():
        return _set_up_page(form, 400)
    administrators = administrator_service()
    try:
        with administrators.place():
            token = administrators.set_up(
                form.token.data or "",
                form.name.data or "",
                form.password.data or "",
                caller_address(),
            )
    except InvalidField as error:
        add_fault(form, error)
        return _set_up_page(form, 400)
    if token is None:
        return _set_up_page(form, 403)
    browser_session().renew(token, administrators)
    flash("You are the first administrator. The set-up link is no longer valid.", "good")
    return redirect(url_for("home"), 303)


def own_page(path: str | None) -> str | None:
    """The path if it is a page of the console without a secret in it, otherwise None."""
    if path is None or len(path) > _LONGEST_PAGE or not path.startswith(_HOME):
        return None
    # No regular expression: one for this syntax can backtrack exponentially.
    place, _, query = path[len(_HOME) :].partition("?")
    segments = place.removesuffix("/").split("/") if place else []
    if not all(map(_is_segment, segments)) or not _IN_QUERY.issuperset(query):
        return None
    return path if redact_secrets(path) == path else None


def _is_segment(segment: str) -> bool:
    """Whether a path segment is safe: not empty, no leading dot, only plain characters."""
    return segment[:1] not in ("", ".") and _IN_SEGMENT.issuperset(segment)


def _page(form: SignInForm, fault: str | None = None, status: int = 200) -> Response:
    idle = round(latchkey().settings.console_idle / 60)
    page = render_template("sign_in.html", form=form, fault=fault, idle_minutes=idle)
    return Response(page, status=status)


def _later(form: SignInForm, fault: str, error: ApiError) -> Response:
    """The form again, for an attempt that was not processed."""
    page = _page(form, fault, error.status)
    page.headers.update(error.extra_headers())
    return page


def _set_up_page(form: SetUpForm, status: int = 200) -> Response:
    """The set-up form, or an explanation if the link is not valid."""
    offered = administrator_service().set_up_is_offered(form.token.data or "")
    page = render_template("set_up.html", form=form, offered=offered)
    return Response(page, status=status if offered else 403)
