"""Revocations through nginx under load: no request that begins after the answer is admitted."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.faults.service_processes import wait_until, workers
from tests.support.proxies.expectations import bearer
from tests.support.proxies.programs import NGINX
from tests.support.proxies.site import Site, Visitor
from tests.support.proxies.upstream import Upstream
from tests.support.service import Pair, Service

CLIENTS = 4


class Clients:
    """Clients that use one key all the time, each on its own connection to the proxy."""

    def __init__(self, site: Site, pair: Pair) -> None:
        self.pair = pair
        self._site = site
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self.last_admitted: dict[str, float] = {}
        """By key: when the last request that was admitted began, by CLOCK_MONOTONIC."""
        self.statuses: set[int] = set()
        # The key that each client was last admitted with.
        self.admitted = [""] * CLIENTS
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)

    def all_use(self, pair: Pair) -> None:
        """Give the clients another key, and wait until each was admitted with it."""
        self.pair = pair
        wait_until(
            lambda: all(key == pair.api_key for key in self.admitted), "all clients", pause=0.002
        )

    def _run(self, number: int) -> None:
        with closing(Visitor(self._site)) as visitor:
            while not self._ended.is_set():
                pair = self.pair
                began = time.monotonic()
                status = visitor.get(bearer(pair)).status
                with self._lock:
                    self.statuses.add(status)
                    if status == 200:
                        known = self.last_admitted.get(pair.api_key, 0.0)
                        self.last_admitted[pair.api_key] = max(known, began)
                        self.admitted[number] = pair.api_key


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_no_revoked_key_is_admitted(tmp_path: Path, long: bool) -> None:
    """With four workers: a request reaches another one than the revocation did."""
    if NGINX.path is None:
        pytest.skip("needs nginx")
    answered: dict[str, float] = {}
    settings = {"LATCHKEY_WORKERS": "4", "LATCHKEY_FAILURE_LIMIT": "off"}
    service = Service(tmp_path)
    service.settings.update(settings)
    with service, Upstream() as upstream, Site(NGINX, tmp_path / "site", service, upstream) as site:
        assert len(workers(service)) == 4
        clients = Clients(site, service.issue())
        try:
            for _ in range(1000 if long else 50):
                pair = service.issue()
                clients.all_use(pair)
                path = f"/v1/api_keys/{pair.api_key}"
                assert service.request("DELETE", path, pair.bearer).status == 200
                answered[pair.api_key] = time.monotonic()
        finally:
            clients.stop()
    admitted = clients.last_admitted
    assert answered.keys() <= admitted.keys()
    late = {key: admitted[key] - answered[key] for key in answered if admitted[key] > answered[key]}
    assert (late, clients.statuses) == ({}, {200, 401})
