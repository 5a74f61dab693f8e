"""A page of the console with a status of its own."""

from __future__ import annotations

from typing import Any

from flask import Response, render_template, request


def page(template: str, code: int = 200, /, **context: Any) -> Response:
    """The page that a template makes; ``origin`` is where this service is reached."""
    origin = request.host_url.rstrip("/")
    return Response(render_template(template, origin=origin, **context), status=int(code))
