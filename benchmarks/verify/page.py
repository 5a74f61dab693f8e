"""The tables of the part ``verify``, and the figures in its prose."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks.parts import Table, View, format_estimate
from benchmarks.verify import goals
from benchmarks.verify.plan import (
    ALONE,
    BARE,
    EMPTY,
    ENVOY,
    GUNICORN,
    LATCHKEY,
    NGINX,
    RULED,
    SAME_HEADERS,
    VERIFY,
)
from benchmarks.verify.results import VerifyResults

_SHOWN = {
    BARE: "a bare WSGI application with the same headers",
    VERIFY: "`/verify/nginx`, a hit",
    ENVOY: "`/verify/envoy`, a hit",
    RULED: "`/verify/nginx`, a hit, with a routes file of three rules",
    ALONE: "nginx alone",
    EMPTY: "with `auth_request` to an empty 204",
    SAME_HEADERS: "with `auth_request` to a bare WSGI application with the same headers",
    LATCHKEY: "with `auth_request` to Latchkey",
}


def tables(results: VerifyResults) -> dict[str, Table]:
    """Every table by its name."""
    return {"gunicorn": _table(results, GUNICORN), "nginx": _table(results, NGINX)}


def _table(results: VerifyResults, names: Iterable[str]) -> Table:
    rows = []
    for name in names:
        subject = results.subjects.get(name)
        if subject is not None:
            figures = (subject.rate, subject.p50, subject.p99)
            rows.append([_SHOWN[name], *map(format_estimate, figures)])
    return Table(["", "requests/s", "p50, µs", "p99, µs"], rows)


def words(results: VerifyResults) -> dict[str, str]:
    """The figures in the prose about this run."""
    return {
        "proxy": f"nginx {results.nginx}",
        "verify_users": f"{results.users}",
        "verify_starts": f"{len(results.rates)}",
        "verify_requests": f"{results.requests:,}",
        "envoy_over_bare": format_estimate(results.envoy_over_bare),
        "ruled_over_bare": format_estimate(results.ruled_over_bare),
        "over_empty": format_estimate(results.over_empty),
        "headers_over_empty": format_estimate(results.headers_over_empty),
        "over_alone": format_estimate(results.over_alone),
    }


def draw(results: VerifyResults, directory: Path) -> list[Path]:
    """There are no plots: the tables have few rows."""
    return []


VIEW = View(VerifyResults, goals.verdicts, tables, words, draw, Path(__file__).with_name("page.md"))
