"""Throttling of tries to sign in: by address, and by name, for all workers of the box together."""

from __future__ import annotations

from wsgiref.types import WSGIEnvironment

from latchkey.addresses import ClientAddresses
from latchkey.box.shared import SharedState
from latchkey.box.throttle import WindowLimit
from latchkey.config import Settings

_TIMES_FOR_A_NAME = 5


class SignInThrottle:
    """Counts every try, before the password is looked at.

    By name more are allowed than by address, and what an address has too many of is not counted
    by name: nobody alone can keep an administrator out.
    """

    def __init__(self, settings: Settings, shared: SharedState, addresses: ClientAddresses) -> None:
        digest = shared.failure_digest()
        self._by_address = WindowLimit(settings.sign_in_limit, shared.failures, digest)
        self._by_name = WindowLimit(
            settings.sign_in_limit, shared.failures, digest, times=_TIMES_FOR_A_NAME
        )
        self._addresses = addresses

    def count(self, environ: WSGIEnvironment, name: str) -> None:
        """Count one try; raises RateLimited where that was one too many."""
        # The marks keep these apart from each other, and from the failures of credentials.
        address = self._addresses.counted(environ)
        self._by_address.count(f"sign-in from {address}")
        self._by_name.count(f"sign-in as {name.strip().lower()}")
