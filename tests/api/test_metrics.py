"""``/metrics`` with several workers: the totals, independent of the worker that responds."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.faults.service_processes import wait_until, workers
from tests.support.service import NewRows, Service

REQUESTS = 40

SETTINGS = {"LATCHKEY_WORKERS": "2", "LATCHKEY_FAILURE_LIMIT": "off"}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, new_rows: NewRows) -> Iterator[Service]:
    with Service(
        tmp_path_factory.mktemp("metrics"), unprivileged=False, on=new_rows(), **SETTINGS
    ) as running:
        yield running


def samples(service: Service) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by name and labels, read by an independent parser."""
    text = service.get("/metrics").body.decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_workers_count_together(box: Service) -> None:
    key = box.issue()
    before = box.metric("latchkey_requests_total", outcome="authenticated")
    for number in range(REQUESTS):
        assert box.get("/v1/account", key.bearer if number % 2 else key.headers).status == 200
    # Each connection may reach another worker, but each answer has the sum of all workers.
    for _ in range(6):
        found = box.metric("latchkey_requests_total", outcome="authenticated")
        assert found == before + REQUESTS


def test_the_metrics_and_their_values(start_service: Callable[..., Service]) -> None:
    # A separate service, so that its numbers contain no other requests.
    box = start_service(**SETTINGS)
    key, other = box.issue(), box.derive_pair()
    for headers, status in ((key.bearer, 200), (key.bearer, 200), (other.bearer, 401), ({}, 401)):
        assert box.get("/v1/account", headers).status == status
    assert box.get("/v1/nothing", key.bearer).status == 404
    narrow = box.issue(scopes=["account:read"])
    assert box.get("/v1/api_keys", narrow.bearer).status == 403
    found = samples(box)
    assert "worker" not in {label for _, labels in found for label, _ in labels}

    def value(name: str, **labels: str) -> float:
        return found[name, frozenset(labels.items())]

    duration = "latchkey_request_duration_seconds"
    account = {"endpoint": "account.show_account"}
    assert value(f"{duration}_count", **account, status="200") == 2
    assert value(f"{duration}_bucket", **account, status="200", le="+Inf") == 2
    assert 0 < value(f"{duration}_sum", **account, status="200") < 10
    assert value(f"{duration}_count", endpoint="none", status="401") == 2
    assert value(f"{duration}_count", endpoint="none", status="404") == 1
    assert value("latchkey_requests_total", outcome="missing") == 1
    assert value("latchkey_requests_total", outcome="invalid") == 1
    assert value("latchkey_scope_refusals_total") == 1
    # This very request.
    assert value("latchkey_requests_in_flight") == 1
    assert value("latchkey_lookups_total", level="cache", result="hit") >= 1
    assert value("latchkey_shared_cache_entries") >= 1


def test_no_secret_and_no_key_is_shown(box: Service) -> None:
    key = box.issue()
    for headers in (key.bearer, key.headers, {"Authorization": "Bearer sk_live_x"}):
        box.get("/v1/account", headers)
        box.get(f"/v1/api_keys/{key.api_key}", headers)
    text = box.get("/metrics").body.decode()
    assert key.api_secret not in text
    assert key.api_key[8:] not in text


def test_counters_outlive_a_killed_worker(box: Service) -> None:
    key = box.issue()
    for _ in range(REQUESTS):
        assert box.get("/v1/account", key.bearer).status == 200
    before = {name: value for name, value in samples(box).items() if name[0].endswith("_total")}
    for killed in workers(box):
        alive = workers(box)
        os.kill(killed, signal.SIGKILL)
        wait_until(
            lambda killed=killed, alive=alive: (  # type: ignore[misc]
                len(set(workers(box)) - {killed}) == len(alive)
            ),
            "a new worker",
        )
        after = samples(box)
        assert all(after[name] >= value for name, value in before.items())
        assert after["latchkey_requests_in_flight", frozenset()] == 1
