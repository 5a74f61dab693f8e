"""``/health`` and ``/ready``: whether the process responds, and can read the database."""

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
    """Report that the process responds. Does not access the database."""
    return answer(HealthStatus())


@health.open("GET", "/ready", {200: HealthStatus}, errors=(503,))
def show_readiness() -> Response:
    """Report whether the service can read from the database."""
    try:
        current_app.extensions["latchkey"].store.check()
    except StoreError as error:
        log.error("not ready: %s", error.detail)
        raise NotReady from None
    return answer(HealthStatus())
