"""The data in the screenshots: keys created and used through the real service."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

from tests.support.browser.shown import Shown
from tests.support.console.accounts import (
    account_path,
    erase,
    make_account,
    make_key,
    submit,
)
from tests.support.console.visitor import Visitor
from tests.support.service import Pair, Service

_CALLS = 12
_LIMITS = {
    "limit_1-amount": "20",
    "limit_1-kind": "rate/hour",
    "limit_1-burst": "5",
    "limit_2-amount": "50000",
    "limit_2-kind": "quota/month",
    "limit_2-name": "monthly",
}
_HOUR = 3_600_000
_HOURS = 40 * 24
"""Of the past that is made up: what a plot shows, and some more."""


class Demonstration:
    """Demonstration data in a service; its secrets are useless after the service has stopped."""

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
        self._make_up_the_past({keys["billing"].api_key: 90, keys["storefront"].api_key: 400})
        self._names = {name: pair.api_key for name, pair in keys.items()}
        self._names |= self._make_accounts()

    def path(self, shown: Shown) -> str:
        """The path of a page, with the demonstration's objects in place of their names."""
        return shown.path.format(**self._names)

    def _make_accounts(self) -> dict[str, str]:
        """Create accounts with keys; returns their ids, and the key with limits."""
        ada = Visitor(self._service)
        ada.sign_in()
        metadata = '{"plan": "gold", "region": "eu"}'
        limits = {"limit_1-amount": "1000000", "limit_1-kind": "quota/month"}
        customer = {"external_id": "cust-2041", "metadata": metadata, **limits}
        acme = make_account(ada, "Acme Logistics", **customer)
        globex = make_account(ada, "Globex", external_id="cust-2042")
        initech = make_account(ada, "Initech", external_id="cust-2043")
        orders = {"access": "chosen", "more_scopes": "account:read orders:read"}
        production = make_key(ada, acme, name="Acme production", **orders)
        make_key(ada, acme, name="Acme staging", mode="test", expiry="90")
        limited = make_key(ada, acme, name="Acme trial", **orders, **_LIMITS)
        make_key(ada, globex, name="Globex nightly import")
        make_key(ada, initech, name="Initech")
        self._use(production, _CALLS)
        self._use(limited, _CALLS)
        submit(ada, account_path(globex, "/disable"))
        erase(self._service, initech)
        self._make_up_the_past({production.api_key: 250, limited.api_key: 20})
        accounts = {"acme": acme, "globex": globex, "initech": initech}
        return {**accounts, "limited": limited.api_key}

    def _issue(self, name: str, mode: str = "live", **terms: object) -> Pair:
        return self._service.issue(mode, name=name, **terms)

    def _make_up_the_past(self, peaks: dict[str, int]) -> None:
        """Insert uses of earlier days, more by day than by night.

        ``peaks`` has the peak hour of each key. Real requests would all be in the current hour.
        """
        this_hour = round(datetime.now(UTC).timestamp() * 1000) // _HOUR * _HOUR
        began = this_hour - _HOURS * _HOUR
        with closing(sqlite3.connect(self._service.database, timeout=60)) as connection, connection:
            for api_key, peak in peaks.items():
                (number,) = connection.execute(
                    "UPDATE credential SET created_at = ?, first_used_at = ? "
                    "WHERE api_key = ? RETURNING id",
                    (began, began, api_key),
                ).fetchone()
                connection.executemany(
                    "INSERT INTO usage (credential_id, hour, uses) VALUES (?, ?, ?)",
                    [
                        (number, began + ago * _HOUR, uses)
                        for ago in range(_HOURS)
                        if (uses := _uses_at(began // _HOUR + ago, peak)) > 0
                    ],
                )

    def _use(self, pair: Pair, times: int) -> None:
        for _ in range(times):
            self._service.get("/v1/account", pair.bearer)

    def _act(self, method: str, pair: Pair, what: str) -> None:
        path = f"/v1/api_keys/{pair.api_key}{what}"
        answer = self._service.request(method, path, self._operator.bearer)
        if answer.status not in (200, 201):
            raise RuntimeError(f"{method} {path}: {answer}")


def _uses_at(hour: int, peak: int) -> int:
    """The uses of a key in one hour since 1970: by day, and fewer on each seventh day."""
    of_day, day = hour % 24, hour // 24
    light = max(0.0, math.sin(math.pi * (of_day - 5) / 17))
    rest = 0.3 if day % 7 == 3 else 0.75 + 0.25 * math.sin(day * 2.4)
    return round(peak * light * rest)
