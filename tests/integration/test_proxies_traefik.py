"""The table of cases behind Traefik."""

from __future__ import annotations

from tests.support.proxies.cases import ProxyBehaviour
from tests.support.proxies.expectations import Outcomes
from tests.support.proxies.programs import TRAEFIK

# Traefik resolves these before it asks, and passes on the result.
RESOLVED = {
    "/%61llowed/x": (200, "/allowed/x"),
    "//allowed/x": (200, "/allowed/x"),
    "/allowed//x": (200, "/allowed/x"),
    "/allowed/./x": (200, "/allowed/x"),
    "/allowed/../secret": (403, ""),
    "/allowed/%2e%2e/secret": (403, ""),
    "/allowed/%2E%2E/secret": (403, ""),
    "/allowed/.%2e/secret": (403, ""),
}
# It refuses these itself.
REFUSED = (
    "/allowed%2fx",
    "/allowed/..%2fsecret",
    "/allowed/x%5cy",
    "/allowed/x%3by",
    "/allowed/%252e%252e/secret",
)


class TestTraefik(ProxyBehaviour):
    program = TRAEFIK
    # It has no setting for its answer where Latchkey does not answer.
    outcomes = Outcomes(
        stopped=500,
        has_envelope=False,
        other_host=404,
        other_authority=404,
        tells_limits=False,
        paths={**RESOLVED, **dict.fromkeys(REFUSED, (400, ""))},
    )
