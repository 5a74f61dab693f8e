"""The extent of the measurements, and the names of what is compared."""

from __future__ import annotations

from dataclasses import dataclass

BARE, VERIFY = "bare WSGI", "/verify/nginx"
ALONE, EMPTY, LATCHKEY = "nginx alone", "nginx, empty 204", "nginx, Latchkey"
GUNICORN = (BARE, VERIFY)
"""What is requested from gunicorn directly."""
NGINX = (ALONE, EMPTY, LATCHKEY)

BARE_PATH, EMPTY_PATH, VERIFY_PATH = "/bare", "/empty", "/verify/nginx"


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
