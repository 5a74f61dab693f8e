"""Signing in and out."""

from __future__ import annotations

from flask import Blueprint, render_template

from app.console.guard import open_to_all

sign_in = Blueprint("sign_in", __name__, url_prefix="/console")


@sign_in.get("/sign-in")
@open_to_all
def show() -> str:
    """The form."""
    return render_template("sign_in.html")
