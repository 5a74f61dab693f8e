"""Requests as gunicorn passes them to an application, newly created each time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from io import BytesIO

from benchmarks.overhead.timing import Environ

PATH = "/v1/account"
ROUTE = "/verify/nginx"


def new_environ(**headers: str) -> Environ:
    """A GET request; header names are new strings, as if they came from a socket."""
    environ: Environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": PATH,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "RAW_URI": PATH,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "40000",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": _EMPTY,
        "wsgi.errors": None,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": None,
        "wsgi.input_terminated": True,
        "SERVER_SOFTWARE": "gunicorn",
        "gunicorn.socket": None,
    }
    for name, value in (*COMMON, *headers.items()):
        environ[f"HTTP_{name}"] = value
    return environ


def new_question(**headers: str) -> Environ:
    """What nginx asks about such a request."""
    original = ("GET", "/v1/orders/17?fields=id", "api.example.com", "192.0.2.7")
    names = ("X_ORIGINAL_METHOD", "X_ORIGINAL_URI", "X_ORIGINAL_HOST", "X_FORWARDED_FOR")
    # New strings, as if they came from a socket.
    values = [value.encode().decode() for value in original]
    environ = new_environ(**dict(zip(names, values, strict=True)), **headers)
    return {**environ, "PATH_INFO": ROUTE, "RAW_URI": ROUTE.encode().decode()}


def turns(texts: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Each text once per pass, in a new random order; always as new objects."""
    while True:
        for text in rng.sample(texts, len(texts)):
            yield text.encode().decode()


COMMON = (
    ("HOST", "127.0.0.1:8080"),
    ("USER_AGENT", "python-requests"),
    ("ACCEPT_ENCODING", "gzip, deflate"),
    ("ACCEPT", "*/*"),
    ("CONNECTION", "keep-alive"),
)
"""The other headers of each request, named as in an environ."""
_EMPTY = BytesIO()
