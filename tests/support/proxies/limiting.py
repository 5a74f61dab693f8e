"""Cases: the limits of a key, and what clients learn about them."""

from __future__ import annotations

from typing import Any

import http_sf
import pytest

from tests.support.api.accounts import limited_key, manager
from tests.support.proxies.expectations import Sites, assert_admitted, assert_refused, bearer
from tests.support.proxies.site import Answer, Site
from tests.support.service import Pair, Service

_OF_CLIENTS = [
    *(("RateLimit", '"claimed";r=9'), ("RateLimit-Policy", '"claimed";q=9;w=9')),
    *(("X-RateLimit-Limit", "9"), ("X-RateLimit-Remaining", "9"), ("X-RateLimit-Reset", "9")),
]
_DAILY = {"name": "daily", "rate": "3/day"}


class Limiting(Sites):
    """Rates, quotas, costs, and their headers."""

    def test_a_rate(self, site: Site, served: Service) -> None:
        key = limited_key(served, manager(served), _DAILY)
        for left in (2, 1, 0):
            answer = site.request("GET", "/orders", bearer(key))
            received = assert_admitted(answer, key.api_key)
            assert self._told(answer) == {"daily": left}
            assert not [name for name, _ in received.headers if "retry" in name.lower()]
        for _ in range(2):
            answer = site.request("GET", "/orders", bearer(key))
            assert_refused(answer, 429, "rate_limited")
            # A unit becomes available every eight hours.
            assert 0 < int(answer.headers["Retry-After"]) <= 8 * 3_600
            assert remaining(answer) == {"daily": 0}

    def test_a_quota_that_is_never_filled_again(self, site: Site, served: Service) -> None:
        key = limited_key(
            served, manager(served), {"name": "trial", "quota": 1, "period": "total"}, _DAILY
        )
        answer = site.request("GET", "/orders", bearer(key))
        assert_admitted(answer, key.api_key)
        assert self._told(answer) == {"trial": 0, "daily": 2}
        answer = site.request("GET", "/orders", bearer(key))
        assert_refused(answer, 429, "quota_exceeded")
        assert answer.headers["Retry-After"] is None
        # A refused request takes nothing from the other limit.
        assert remaining(answer) == {"trial": 0, "daily": 2}

    def test_the_cost_of_requests(self, needing: Site) -> None:
        """Each request of this site costs two units, taken at once."""
        key = limited_key(needing.service, manager(needing.service), _DAILY)
        answer = needing.request("GET", "/x", bearer(key))
        assert_admitted(answer, key.api_key)
        assert self._told(answer) == {"daily": 1}
        answer = needing.request("GET", "/x", bearer(key))
        assert_refused(answer, 429, "rate_limited")
        assert remaining(answer) == {"daily": 1}

    def test_limits_come_before_scopes(self, needing: Site) -> None:
        key = limited_key(
            needing.service, manager(needing.service), _DAILY, scopes=["account:read"]
        )
        answer = needing.request("GET", "/x", bearer(key))
        assert_refused(answer, 403, "insufficient_scope")
        assert remaining(answer) == {"daily": 1}
        assert_refused(needing.request("GET", "/x", bearer(key)), 429, "rate_limited")

    @pytest.mark.parametrize("is_limited", [True, False])
    def test_headers_of_others(
        self, site: Site, served: Service, key: Pair, is_limited: bool
    ) -> None:
        """Those of clients and of the application never look like those of a key."""
        asking = limited_key(served, manager(served), _DAILY) if is_limited else key
        answer = site.request("GET", "/limits", [*bearer(asking), *_OF_CLIENTS])
        received = assert_admitted(answer, asking.api_key)
        assert self._told(answer) == ({"daily": 2} if is_limited else {})
        claimed = {value for _, value in _OF_CLIENTS}
        assert not claimed & {value for name, value in received.headers if "limit" in name.lower()}
        refused = site.request("GET", "/limits", [*_OF_CLIENTS])
        assert_refused(refused, 401, "unauthorized")
        assert remaining(refused) == {}

    def _told(self, answer: Answer) -> dict[str, int]:
        """What remains, as the client is told; or the application, if the proxy cannot do that."""
        return remaining(answer) if self.outcomes.tells_limits else self._passed(answer)

    def _passed(self, answer: Answer) -> dict[str, int]:
        received = answer.passed
        return _remaining(received.values("RateLimit"), received.values("RateLimit-Policy"))


def remaining(answer: Answer) -> dict[str, int]:
    """What remains of each limit, as the headers of an answer tell it; empty without them."""
    for name in ("Limit", "Remaining", "Reset"):
        assert answer.headers[f"X-RateLimit-{name}"] is None
    return _remaining(
        answer.headers.get_all("RateLimit", []), answer.headers.get_all("RateLimit-Policy", [])
    )


def _remaining(levels: list[str], policies: list[str]) -> dict[str, int]:
    if not levels and not policies:
        return {}
    (level,), (policy,) = levels, policies
    told: Any = http_sf.parse(level.encode(), tltype="list")
    announced: Any = http_sf.parse(policy.encode(), tltype="list")
    assert [name for name, _ in told] == [name for name, _ in announced]
    return {name: parameters["r"] for name, parameters in told}
