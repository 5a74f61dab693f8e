"""What the pages show in pictures: keys made and used through the real service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.browser.shown import Shown
from tests.service import Pair, Service

_CALLS = 12


class Demonstration:
    """The demonstration's data in a service; nothing of it is of use when that has ended."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._operator = service.create_key(name="Operator")
        soon = (datetime.now(UTC) + timedelta(days=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
        keys = {
            "billing": self._issue("Billing service", scopes=["account:read", "credentials:read"]),
            "storefront": self._issue("Storefront"),
            "reporting": self._issue("Monthly reporting", scopes=["*:read"], expires_at=soon),
            "sandbox": self._issue("Partner sandbox", "test"),
            "former": self._issue("Former contractor", scopes=["account:read"]),
        }
        self._use(keys["billing"], _CALLS)
        self._use(keys["storefront"], 5)
        self._use(keys["sandbox"], 2)
        self._service.get("/credentials", keys["former"].bearer)
        self._act("DELETE", keys["former"], "")
        self._use(keys["former"], 3)
        self._act("POST", keys["storefront"], "/rotate")
        self._names = {name: pair.api_key for name, pair in keys.items()}

    def path(self, shown: Shown) -> str:
        """A page's path, with the demonstration's keys in the place of their names."""
        return shown.path.format(**self._names)

    def _issue(self, name: str, mode: str = "live", **terms: object) -> Pair:
        return self._service.issue(mode, name=name, **terms)

    def _use(self, pair: Pair, times: int) -> None:
        for _ in range(times):
            self._service.get("/v1/account", pair.bearer)

    def _act(self, method: str, pair: Pair, what: str) -> None:
        path = f"/v1/api_keys/{pair.api_key}{what}"
        answer = self._service.request(method, path, self._operator.bearer)
        if answer.status not in (200, 201):
            raise RuntimeError(f"{method} {path}: {answer}")
