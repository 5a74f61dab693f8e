"""The parts of the worker, and the caller of a request as an actor in the audit log."""

from __future__ import annotations

from flask import current_app, request

from latchkey import current_principal
from latchkey.assembly import Latchkey
from latchkey.check.request_conditions import facts_of
from latchkey.credentials.audit import Actor


def worker_parts() -> Latchkey:
    """The parts of this worker."""
    latchkey: Latchkey = current_app.extensions["latchkey"]
    return latchkey


def calling_key() -> Actor:
    """The key of this request, as an actor in the audit log."""
    addresses = worker_parts().addresses
    return Actor.key(
        current_principal.api_key,
        addresses.written(request.environ),
        facts_of(request.environ, addresses),
    )
