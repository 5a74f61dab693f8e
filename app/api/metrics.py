"""``/metrics``: what this worker has counted, as Prometheus text.

Each worker shows its own numbers under its own label; a scrape reaches one of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from flask import Response, current_app
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.api.openapi import Resource, content
from app.assembly import Latchkey
from app.auth.counts import Count
from app.auth.levels import Level

metrics = Resource("metrics")

_OUTCOMES = (
    Count.AUTHENTICATED,
    Count.OPEN,
    Count.MISSING,
    Count.INVALID,
    Count.REVOKED,
    Count.EXPIRED,
    Count.AMBIGUOUS,
    Count.RATE_LIMITED,
    Count.FAILED,
)


@metrics.open("GET", "/metrics", {200: content("text/plain")})
def show_metrics() -> Response:
    """Show the worker's counters."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_WorkerCollector(current_app.extensions["latchkey"]))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _WorkerCollector(Collector):
    """Reads the counters at the moment of the scrape."""

    def __init__(self, latchkey: Latchkey) -> None:
        self._latchkey = latchkey
        self._worker = str(os.getpid())

    def collect(self) -> Iterable[Metric]:
        """The metric families, read now."""
        value = self._latchkey.counters.value
        requests = CounterMetricFamily(
            "latchkey_requests",
            "Requests by what their credential came to",
            labels=_labels("outcome"),
        )
        for outcome in _OUTCOMES:
            requests.add_metric([self._worker, outcome.name.lower()], value(outcome))
        yield requests

        lookups = CounterMetricFamily(
            "latchkey_lookups", "Lookups by level and result", labels=_labels("level", "result")
        )
        for level, result, count in (
            ("cache", "hit", Count.CACHE_HIT),
            ("cache", "miss", Count.CACHE_MISS),
            ("unknown", "hit", Count.UNKNOWN_HIT),
            ("store", "select", Count.STORE_SELECT),
            ("store", "error", Count.STORE_ERROR),
            ("derivation", "forged", Count.FORGED),
        ):
            lookups.add_metric([self._worker, level, result], value(count))
        yield lookups

        levels: dict[str, Level[Any]] = {
            "cache": self._latchkey.authenticator.known,
            "unknown": self._latchkey.authenticator.unknown,
        }
        entries = GaugeMetricFamily(
            "latchkey_cache_entries", "Entries held now", labels=_labels("level")
        )
        evictions = CounterMetricFamily(
            "latchkey_cache_evictions", "Entries that made room for others", labels=_labels("level")
        )
        for name, held in levels.items():
            entries.add_metric([self._worker, name], len(held))
            evictions.add_metric([self._worker, name], held.evictions())
        yield entries
        yield evictions


def _labels(*names: str) -> list[str]:
    return ["worker", *names]
