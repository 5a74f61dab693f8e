"""Pages of the console: rendering with a status code, and the number of rows."""

from __future__ import annotations

from typing import Any

from flask import Response, render_template, request

ROWS_OF_A_PAGE = 50
"""The maximum number of rows on a page of a listing."""


def page(template: str, code: int = 200, /, **context: Any) -> Response:
    """Render a template; ``origin`` is the URL of this service, without a path."""
    origin = request.host_url.rstrip("/")
    return Response(render_template(template, origin=origin, **context), status=int(code))


def page_count(total: int) -> int:
    """The number of pages of a listing with ``total`` rows; an empty one has one page."""
    return max(1, -(-total // ROWS_OF_A_PAGE))
