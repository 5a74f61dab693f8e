"""A page of the console: with a status of its own, and with how many rows."""

from __future__ import annotations

from typing import Any

from flask import Response, render_template, request

ROWS_OF_A_PAGE = 50
"""How many rows a page of a listing has at most."""


def page(template: str, code: int = 200, /, **context: Any) -> Response:
    """The page that a template makes; ``origin`` is where this service is reached."""
    origin = request.host_url.rstrip("/")
    return Response(render_template(template, origin=origin, **context), status=int(code))
