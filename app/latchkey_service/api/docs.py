"""``/openapi.json`` and ``/docs/``: the OpenAPI document, and a page that renders it.

The script and the style of the page are files of an installed package. The page loads nothing from
other hosts.
"""

from __future__ import annotations

from importlib.resources import files

from flask import Response, current_app, jsonify, render_template

from latchkey_service.api.openapi import Resource, content

docs = Resource(
    "docs",
    template_folder="templates",
    static_folder=str(files("flask_openapi3_swagger") / "templates" / "swagger"),
    static_url_path="/docs/assets",
)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)


@docs.open("GET", "/openapi.json", {200: content("application/json", "object")})
def show_openapi() -> Response:
    """The OpenAPI 3.1 document, generated from the routes."""
    return jsonify(current_app.api_doc)  # type: ignore[attr-defined]


@docs.open("GET", "/docs/", {200: content("text/html")})
def show_page() -> Response:
    """The page that renders the document."""
    page = Response(render_template("docs.html"), content_type="text/html; charset=utf-8")
    page.headers["Content-Security-Policy"] = _POLICY
    page.headers["X-Content-Type-Options"] = "nosniff"
    page.headers["Referrer-Policy"] = "no-referrer"
    return page


@docs.get("/docs/start.js", doc_ui=False)
def show_script() -> Response:
    """The lines that start the page. They are a separate file, so that no script is inline."""
    return Response(render_template("docs.js"), content_type="text/javascript; charset=utf-8")
