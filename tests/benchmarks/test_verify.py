"""The presentation of measurements behind a reverse proxy; tests/integration measures."""

from __future__ import annotations

import pytest

from benchmarks.bootstrap import Estimate
from benchmarks.parts import MET, MISSED, UNMEASURED, UNPROVED
from benchmarks.suite import verify_part
from benchmarks.verify import goals, nginx
from benchmarks.verify.driver import quantile
from benchmarks.verify.plan import ALONE, EMPTY, GUNICORN, LATCHKEY, NGINX, SAME_HEADERS
from benchmarks.verify.results import Subject, VerifyResults
from tests.support.benchmarks.pages import require_whole_page


def around(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.01, high=value + 0.01)


@pytest.fixture
def results() -> VerifyResults:
    """A run that meets every goal."""
    names = (*GUNICORN, *NGINX)
    rounds = [{name: [1.0, 2.0] for name in names}]
    return VerifyResults(
        nginx="1.22.1",
        users=8,
        requests=100,
        rates=rounds,
        p50=rounds,
        p99=rounds,
        subjects=dict.fromkeys(names, Subject(rate=around(1), p50=around(2), p99=around(3))),
        over_bare=around(0.97),
        envoy_over_bare=around(0.7),
        ruled_over_bare=around(0.6),
        over_empty=around(0.97),
        headers_over_empty=around(0.98),
        tail_over_empty=around(1.0),
        over_alone=around(0.5),
    )


def test_the_goals(results: VerifyResults) -> None:
    assert [verdict.state for verdict in goals.verdicts(results)] == [MET, MET, MET]
    for over, state in ((0.95, UNPROVED), (0.9, MISSED)):
        results.over_bare, results.over_empty = around(over), around(over)
        results.tail_over_empty = around(2.05 - over)
        assert [verdict.state for verdict in goals.verdicts(results)] == [state] * 3
    results.over_bare = results.over_empty = results.tail_over_empty = None
    assert [verdict.state for verdict in goals.verdicts(results)] == [UNMEASURED] * 3


def test_goals_tables_and_page_are_generated(results: VerifyResults) -> None:
    part, fields = verify_part(), results.model_dump(mode="json")
    require_whole_page(part, fields)
    assert part.optional


def test_the_sites_differ_in_the_question_only() -> None:
    sites = {name: nginx.site(name, 1, 2, 3).splitlines() for name in NGINX}
    for name in (ALONE, EMPTY, SAME_HEADERS):
        pairs = zip(sites[name], sites[LATCHKEY], strict=True)
        (changed,) = [pair for pair in pairs if pair[0] != pair[1]]
        assert "auth_request" in changed[1] or "/verify/nginx" in changed[1]
    assert not [line for line in sites[LATCHKEY] if line.strip().startswith("ssl_")]


def test_a_quantile() -> None:
    latencies = [float(number) for number in range(100, 0, -1)]
    assert (quantile(latencies, 0.5), quantile(latencies, 0.99)) == (51.0, 100.0)
    assert quantile([1.0], 0.99) == 1.0
