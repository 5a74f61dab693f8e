"""The table of cases behind Haproxy."""

from __future__ import annotations

from tests.support.proxies.cases import ProxyBehaviour
from tests.support.proxies.expectations import Outcomes
from tests.support.proxies.programs import HAPROXY


class TestHaproxy(ProxyBehaviour):
    program = HAPROXY
    outcomes = Outcomes(other_authority=400)
