"""Mounting the console in the service, as one view that forwards requests to it.

The console is a separate Flask application. Its sessions, forms, hooks and error pages therefore
apply to its own requests only, and do not slow requests to the API.
"""

from __future__ import annotations

from wsgiref.types import WSGIApplication

from flask import Flask

from latchkey.assembly import Latchkey
from latchkey_service.console.application import build_console

AREA = "/console/"


def mount_console(app: Flask, latchkey: Latchkey) -> None:
    """Mount the console in ``app`` under ``/console/``."""
    console = build_console(latchkey)

    def show_console(path: str = "") -> WSGIApplication:
        """Return the WSGI application that Flask then calls with the environ of the request."""
        return console.wsgi_app

    for rule in (AREA, f"{AREA}<path:path>"):
        app.add_url_rule(rule, "console", show_console, methods=["GET", "POST"])
