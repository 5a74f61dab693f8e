"""``latchkey cache``: the cached credentials of a running service."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import click

from latchkey.box.counter_names import Count, Gauge
from latchkey.box.segment import attached
from latchkey.box.shared import SharedState
from latchkey.store.database_urls import database_of
from latchkey_service.cli.instance import instance_settings
from latchkey_service.cli.options import json_option
from latchkey_service.cli.printing import print_fields, print_json


@click.group()
def cache() -> None:
    """Show or clear the caches of a running service."""


@cache.command("stats")
@json_option
def show_stats(as_json: bool) -> None:
    """Show statistics of the workers' caches and of the shared cache."""
    with _attached() as shared:
        fields = _stats(shared)
    if as_json:
        print_json(fields)
        return
    lines = {"segment": fields["segment"]}
    for part in ("workers", "shared"):
        lines |= {f"{part}.{name}": str(value) for name, value in fields[part].items()}
    print_fields(lines)


@cache.command("clear")
@json_option
def clear(as_json: bool) -> None:
    """Invalidate every cached credential, in every worker."""
    with _attached() as shared:
        shared.invalidate_all()
    if as_json:
        print_json({"cleared": True})
    else:
        click.echo("cleared")


def _attached() -> AbstractContextManager[SharedState]:
    settings = instance_settings()
    database_of(settings).require()
    return attached(settings)


def _stats(shared: SharedState) -> dict[str, Any]:
    totals = shared.worker_metrics.totals()
    return {
        "segment": "" if shared.segment is None else shared.segment.path,
        "workers": {
            "entries": totals.gauges[Gauge.KNOWN],
            "unknown": totals.gauges[Gauge.UNKNOWN],
            "hits": totals.counts[Count.CACHE_HIT],
            "misses": totals.counts[Count.CACHE_MISS],
            "selects": totals.counts[Count.STORE_SELECT],
        },
        "shared": {} if shared.l2 is None else shared.l2.stats()._asdict(),
    }
