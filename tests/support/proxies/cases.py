"""What must hold behind every reverse proxy: one table of cases.

A module of tests/integration runs it for each proxy.
"""

from __future__ import annotations

from tests.support.proxies.admission import Admission
from tests.support.proxies.forgery import Forgery
from tests.support.proxies.http2_cases import Http2Cases
from tests.support.proxies.limiting import Limiting
from tests.support.proxies.traffic import Traffic


class ProxyBehaviour(Admission, Forgery, Http2Cases, Limiting, Traffic):
    """The table. A module has one class for its proxy, with ``program`` and ``outcomes``."""
