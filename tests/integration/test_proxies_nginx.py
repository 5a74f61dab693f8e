"""The table of cases behind Nginx."""

from __future__ import annotations

from tests.support.proxies.cases import ProxyBehaviour
from tests.support.proxies.programs import NGINX


class TestNginx(ProxyBehaviour):
    program = NGINX
