"""The table of cases behind Caddy."""

from __future__ import annotations

from tests.support.proxies.cases import ProxyBehaviour
from tests.support.proxies.programs import CADDY


class TestCaddy(ProxyBehaviour):
    program = CADDY
