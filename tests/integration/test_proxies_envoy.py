"""The table of cases behind Envoy."""

from __future__ import annotations

from tests.support.proxies.cases import ProxyBehaviour
from tests.support.proxies.expectations import Outcomes
from tests.support.proxies.programs import ENVOY


class TestEnvoy(ProxyBehaviour):
    program = ENVOY
    # Envoy makes one status of all failures.
    outcomes = Outcomes(failed=503, other_host=404, other_authority=404, two_hosts=404)
