"""``/health`` and ``/ready``: is the process there, and can it do its work."""

from __future__ import annotations

import logging

from flask import Response, current_app

from latchkey.errors import NotReady, StoreError
from latchkey_service.api.openapi import Resource, answer
from latchkey_service.api.schemas import HealthStatus

log = logging.getLogger("latchkey")

health = Resource("health")


@health.open("GET", "/health", {200: HealthStatus})
def show_health() -> Response:
    """Say that the process answers. Touches no database."""
    return answer(HealthStatus())


@health.open("GET", "/ready", {200: HealthStatus}, errors=(503,))
def show_readiness() -> Response:
    """Say whether the database answers, by reading from it."""
    try:
        current_app.extensions["latchkey"].store.check()
    except StoreError as error:
        log.error("not ready: %s", error.detail)
        raise NotReady from None
    return answer(HealthStatus())
