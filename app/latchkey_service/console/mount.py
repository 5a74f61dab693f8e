"""The console's place in the service: one view, which hands the request on to it.

The console is a Flask application of its own, so that its sessions, forms, hooks and error pages
exist for its own requests only: the API's pay for none of them.
"""

from __future__ import annotations

from wsgiref.types import WSGIApplication

from flask import Flask

from latchkey.assembly import Latchkey
from latchkey_service.console.application import build_console

AREA = "/console/"


def mount_console(app: Flask, latchkey: Latchkey) -> None:
    """Have ``app`` answer everything under ``/console/`` by the console."""
    console = build_console(latchkey)

    def show_console(path: str = "") -> WSGIApplication:
        """What Flask calls as a WSGI application, with the request's own environ."""
        return console.wsgi_app

    for rule in (AREA, f"{AREA}<path:path>"):
        app.add_url_rule(rule, "console", show_console, methods=["GET", "POST"])
