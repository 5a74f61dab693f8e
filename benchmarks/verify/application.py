"""The application of the measurements: the service, a bare answer like its own, and an empty one.

All of them run in the same worker of gunicorn.
"""

from __future__ import annotations

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from benchmarks.verify.plan import BARE_PATH, EMPTY_PATH
from latchkey.config import load_settings
from latchkey_service import create_app

_HEADERS = [
    ("Content-Length", "0"),
    ("Cache-Control", "no-store"),
    ("X-Latchkey-Key", "ak_live_0000000000000000000000"),
    ("X-Latchkey-Account", "acct_0000000000000000000000"),
    ("X-Latchkey-External-Id", ""),
    ("X-Latchkey-Mode", "live"),
    ("X-Latchkey-Scopes", "*"),
    ("X-Latchkey-Metadata", ""),
]

_service = create_app(load_settings()).wsgi_app


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Handle a WSGI call (PEP 3333)."""
    path = environ["PATH_INFO"]
    if path == BARE_PATH:
        start_response("200 OK", list(_HEADERS))
        return []
    if path == EMPTY_PATH:
        start_response("204 No Content", [])
        return []
    return _service(environ, start_response)
