"""The password and the active sessions of the administrator who is signed in."""

from __future__ import annotations

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from latchkey.errors import ApiError, InvalidField, PasswordsBusy, TooManyFailures
from latchkey_service.console.forms import PasswordForm, add_fault
from latchkey_service.console.sessions import (
    administrator_service,
    browser_session,
    caller_address,
    latchkey,
    signed_in,
)
from latchkey_service.console.throttle import SignInThrottle

password = Blueprint("password", __name__, url_prefix="/console/password")

_WRONG = "This is not your current password."
_TOO_MANY = "Too many attempts. Wait a moment, then try again."


@password.get("/")
def show() -> AnyResponse:
    """Show the active sessions and the form to change the password."""
    return _page(PasswordForm())


@password.post("/")
def change_password() -> AnyResponse:
    """Change the password. All other sessions end; this one continues with a new token."""
    form = PasswordForm()
    if not form.validate():
        return _page(form, 400)
    parts = latchkey()
    try:
        with administrator_service().place():
            # Also limit guesses by somebody who uses the signed-in browser of an administrator.
            SignInThrottle(parts.settings, parts.shared, parts.addresses).count(
                request.environ, signed_in().name
            )
            token = administrator_service().change_password(
                signed_in(), form.current.data or "", form.password.data or "", caller_address()
            )
    except TooManyFailures as limited:
        return _later(form, _TOO_MANY, limited)
    except PasswordsBusy as busy:
        return _later(form, f"{busy.message}.", busy)
    except InvalidField as error:
        add_fault(form, error)
        return _page(form, 400)
    if token is None:
        form.current.errors = [_WRONG]
        return _page(form, 403)
    browser_session().renew(token, administrator_service())
    flash("Password changed. All other sessions were signed out.", "good")
    return redirect(url_for("password.show"), 303)


def _later(form: PasswordForm, fault: str, error: ApiError) -> Response:
    """The form again, for an attempt that was not processed."""
    form.current.errors = [fault]
    page = _page(form, error.status)
    page.headers.update(error.extra_headers())
    return page


def _page(form: PasswordForm, status: int = 200) -> Response:
    session = browser_session().found
    sessions = administrator_service().sessions(signed_in())
    page = render_template("password.html", form=form, sessions=sessions, current=session)
    return Response(page, status=status)
