"""The table of cases behind Nginx."""

from __future__ import annotations

from tests.support.proxies.cases import ProxyBehaviour
from tests.support.proxies.expectations import assert_refused, bearer
from tests.support.proxies.programs import NGINX
from tests.support.proxies.site import Site
from tests.support.service import Pair


class TestNginx(ProxyBehaviour):
    program = NGINX

    def test_more_headers_than_latchkey_reads(self, site: Site, key: Pair) -> None:
        """The other proxies send Latchkey few headers, or pass on its answer."""
        many = [(f"X-Number-{number}", "x") for number in range(200)]
        assert_refused(site.request("GET", "/", [*bearer(key), *many]), 431, "headers_too_large")
