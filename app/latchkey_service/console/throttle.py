"""Rate limits for sign-in attempts, by address and by name, shared by all workers."""

from __future__ import annotations

from wsgiref.types import WSGIEnvironment

from latchkey.addresses import ClientAddresses
from latchkey.box.shared import SharedState
from latchkey.box.throttle import WindowLimit
from latchkey.config import Settings

_TIMES_FOR_A_NAME = 5


class SignInThrottle:
    """Counts every attempt before the password is verified.

    The limit by name is higher than the limit by address, and an attempt over the limit of its
    address does not count for the name. One client therefore cannot lock out an administrator.
    """

    def __init__(self, settings: Settings, shared: SharedState, addresses: ClientAddresses) -> None:
        digest = shared.failure_digest()
        self._by_address = WindowLimit(settings.sign_in_limit, shared.failures, digest)
        self._by_name = WindowLimit(
            settings.sign_in_limit, shared.failures, digest, times=_TIMES_FOR_A_NAME
        )
        self._addresses = addresses

    def count(self, environ: WSGIEnvironment, name: str) -> None:
        """Count an attempt; raises TooManyFailures if it exceeds a limit."""
        # The prefixes separate these counts from each other, and from those of credentials.
        address = self._addresses.counted(environ)
        self._by_address.count(f"sign-in from {address}")
        self._by_name.count(f"sign-in as {name.strip().lower()}")
