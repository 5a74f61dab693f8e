"""``/metrics``: the counters of all workers, as Prometheus text.

The worker that handles the request adds up the counters of all workers, including exited ones.
"""

from __future__ import annotations

from collections.abc import Iterable

from flask import Response, current_app
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from latchkey import __version__
from latchkey.assembly import Latchkey
from latchkey.box._latencies import LATENCY_BOUNDS
from latchkey.box.counter_names import Count, Gauge
from latchkey.box.shared import SharedState, Word
from latchkey.box.worker_metrics import Totals
from latchkey_service.api.openapi import Resource, content

metrics = Resource("metrics")

_OUTCOMES = (
    Count.AUTHENTICATED,
    Count.OPEN,
    Count.MISSING,
    Count.INVALID,
    Count.REVOKED,
    Count.EXPIRED,
    Count.DISABLED,
    Count.NOT_YET_VALID,
    Count.ADDRESS,
    Count.ENDPOINT,
    Count.AMBIGUOUS,
    Count.RATE_LIMITED,
    Count.QUOTA_EXCEEDED,
    Count.TOO_MANY_FAILURES,
    Count.FAILED,
)
_LOOKUPS = (
    ("cache", "hit", Count.CACHE_HIT),
    ("cache", "miss", Count.CACHE_MISS),
    ("shared", "hit", Count.SHARED_HIT),
    ("shared", "miss", Count.SHARED_MISS),
    ("unknown", "hit", Count.UNKNOWN_HIT),
    ("store", "select", Count.STORE_SELECT),
    ("store", "error", Count.STORE_ERROR),
    ("derivation", "forged", Count.FORGED),
)
_LIMITS = (
    ("rate", "admitted", Count.RATES_ADMITTED),
    ("rate", "refused", Count.RATES_REFUSED),
    ("quota", "admitted", Count.QUOTAS_ADMITTED),
    ("quota", "refused", Count.QUOTAS_REFUSED),
)
_NANOSECOND = 1e-9


@metrics.open("GET", "/metrics", {200: content("text/plain")})
def show_metrics() -> Response:
    """Show the totals of all workers as Prometheus text."""
    latchkey: Latchkey = current_app.extensions["latchkey"]
    latchkey.authenticator.report()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_BoxCollector(latchkey))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _BoxCollector(Collector):
    """Reads the counters when Prometheus scrapes them."""

    def __init__(self, latchkey: Latchkey) -> None:
        self._latchkey = latchkey

    def collect(self) -> Iterable[Metric]:
        """The metric families with their current values."""
        yield InfoMetricFamily(
            "latchkey_build", "The version of this service", {"version": __version__}
        )
        totals = self._latchkey.shared.worker_metrics.totals()
        yield from _requests(totals)
        yield from _caches(totals)
        yield from self._shared_cache()
        if self._latchkey.store.boxes is not None:
            yield from _boxes(self._latchkey.shared)

    def _shared_cache(self) -> Iterable[Metric]:
        cache = self._latchkey.shared.l2
        if cache is None:
            return
        stats = cache.stats()
        entries = GaugeMetricFamily("latchkey_shared_cache_entries", "Entries in the shared cache")
        entries.add_metric([], stats.entries)
        yield entries
        puts = CounterMetricFamily(
            "latchkey_shared_cache_puts",
            "Entries offered to the shared cache, by result",
            labels=["result"],
        )
        for result in ("puts", "oversized", "busy"):
            label = "stored" if result == "puts" else result
            puts.add_metric([label], getattr(stats, result))
        yield puts
        for name, text in (
            ("evictions", "Entries evicted to make room for others"),
            ("retries", "Repeated reads of an entry that changed during the first read"),
            ("recovered", "Sets of entries cleared because a process died while changing them"),
        ):
            counter = CounterMetricFamily(f"latchkey_shared_cache_{name}", text)
            counter.add_metric([], getattr(stats, name))
            yield counter


def _requests(totals: Totals) -> Iterable[Metric]:
    requests = CounterMetricFamily(
        "latchkey_requests", "Requests by the result of the credential check", labels=["outcome"]
    )
    for result in _OUTCOMES:
        requests.add_metric([result.name.lower()], totals.counts[result])
    yield requests

    scopes = CounterMetricFamily(
        "latchkey_scope_refusals", "Authenticated requests refused because the key lacks the scope"
    )
    scopes.add_metric([], totals.counts[Count.SCOPE])
    yield scopes

    limits = CounterMetricFamily(
        "latchkey_limits",
        "Requests that limits of keys were applied to, by kind of limit",
        labels=["kind", "outcome"],
    )
    for kind, outcome, counter in _LIMITS:
        limits.add_metric([kind, outcome], totals.counts[counter])
    yield limits

    verified = CounterMetricFamily(
        "latchkey_verify_requests",
        "Requests that reverse proxies asked about, by outcome",
        labels=["proxy", "outcome"],
    )
    for (proxy, verified_as), count in totals.verified.items():
        verified.add_metric([proxy, verified_as.name.lower()], count)
    yield verified

    in_flight = GaugeMetricFamily("latchkey_requests_in_flight", "Requests in progress")
    in_flight.add_metric([], totals.in_flight)
    yield in_flight

    durations = HistogramMetricFamily(
        "latchkey_request_duration_seconds",
        "Time from the call of the middleware to the start of the response",
        labels=["endpoint", "status"],
    )
    for (endpoint, status), values in sorted(totals.series.items(), key=_by_name):
        *counts, nanoseconds = values
        if any(counts):
            labels = ["none" if endpoint is None else endpoint or "other", str(status or "other")]
            durations.add_metric(labels, _buckets(counts), nanoseconds * _NANOSECOND)
    yield durations


def _caches(totals: Totals) -> Iterable[Metric]:
    lookups = CounterMetricFamily(
        "latchkey_lookups", "Lookups by level and result", labels=["level", "result"]
    )
    for level, result, count in _LOOKUPS:
        lookups.add_metric([level, result], totals.counts[count])
    yield lookups

    entries = GaugeMetricFamily(
        "latchkey_cache_entries", "Entries in the caches of the workers", labels=["level"]
    )
    entries.add_metric(["cache"], totals.gauges[Gauge.KNOWN])
    entries.add_metric(["unknown"], totals.gauges[Gauge.UNKNOWN])
    yield entries

    evictions = CounterMetricFamily(
        "latchkey_cache_evictions", "Entries evicted to make room for others", labels=["level"]
    )
    evictions.add_metric(["cache"], totals.counts[Count.EVICTED_KNOWN])
    evictions.add_metric(["unknown"], totals.counts[Count.EVICTED_UNKNOWN])
    yield evictions

    uncounted = CounterMetricFamily(
        "latchkey_uses_not_counted", "Uses of keys not counted because the shared memory was full"
    )
    uncounted.add_metric([], totals.counts[Count.UNCOUNTED])
    yield uncounted


def _boxes(shared: SharedState) -> Iterable[Metric]:
    """From shared memory, because anybody may ask for metrics, and the database is shared."""
    lease = GaugeMetricFamily(
        "latchkey_lease_seconds",
        "Time for which the box may use its cache without another confirmation",
    )
    lease.add_metric([], shared.lease_left())
    yield lease
    applied = GaugeMetricFamily(
        "latchkey_log_applied_row",
        "The last row of the log of invalidations that the box has applied",
    )
    applied.add_metric([], shared.words.value(Word.APPLIED_NUMBER))
    yield applied


def _by_name(item: tuple[tuple[str | None, int], tuple[int, ...]]) -> tuple[str, int]:
    endpoint, status = item[0]
    return endpoint or "", status


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    """Cumulative counts by upper bound in seconds, in the format of Prometheus."""
    bounds = [f"{bound * _NANOSECOND:.6g}" for bound in LATENCY_BOUNDS]
    total = 0
    buckets = []
    for bound, count in zip([*bounds, "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
