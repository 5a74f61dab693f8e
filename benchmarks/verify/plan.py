"""The extent of the measurements, and the names of what is compared."""

from __future__ import annotations

from dataclasses import dataclass

BARE, VERIFY = "bare WSGI", "/verify/nginx"
ENVOY, RULED = "/verify/envoy", "/verify/nginx, routes file"
ALONE, EMPTY, LATCHKEY = "nginx alone", "nginx, empty 204", "nginx, Latchkey"
SAME_HEADERS = "nginx, bare WSGI"
GUNICORN = (BARE, VERIFY, ENVOY, RULED)
"""What is requested from gunicorn directly; `RULED` from a service with a routes file."""
NGINX = (ALONE, EMPTY, SAME_HEADERS, LATCHKEY)

BARE_PATH, EMPTY_PATH, VERIFY_PATH = "/bare", "/empty", "/verify/nginx"
HOST, TARGET = "api.example.com", "/orders/17"
"""The original request."""

# The last rule is the one that matches.
ROUTES = """\
[[rule]]
host = "api.example.com"
method = "POST"
path = "/orders/*"
scopes = ["orders:write"]

[[rule]]
path = "/status"
open = true

[[rule]]
host = "api.example.com"
path = "/orders/**"
scopes = ["orders:read"]
"""


@dataclass(frozen=True)
class VerifySettings:
    """The counts of a run."""

    starts: int = 6
    """How often the servers are started again."""
    rounds: int = 20
    requests: int = 4_000
    """The requests of each subject in a round."""
    users: int = 8
    """Connections, which stay open; each sends a request when it has the answer to the last one."""
    keys: int = 64
    """Credentials that are presented in turn; all are cached."""


FULL = VerifySettings()
QUICK = VerifySettings(starts=1, rounds=4, requests=100, users=4, keys=8)
