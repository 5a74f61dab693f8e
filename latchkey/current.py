"""The principal of the current request, where no framework keeps it."""

from __future__ import annotations

from contextvars import ContextVar

from latchkey.credentials.models import Principal

CURRENT: ContextVar[Principal | None] = ContextVar("latchkey.principal", default=None)
"""Set by the ASGI middleware; tasks and threads that the request starts have it, too."""
