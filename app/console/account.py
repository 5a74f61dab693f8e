"""What an administrator does with the own account."""

from __future__ import annotations

from flask import Blueprint, render_template

account = Blueprint("account", __name__, url_prefix="/console/account")


@account.get("/")
def show() -> str:
    """The page of one's own account."""
    return render_template("account.html")
