"""Known verify URLs of keys with limits: the cost of the URL is taken by compiled code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from latchkey.check._limits import LimitOutcome, LimitPlan
from latchkey.check._proxied import KnownAnswers
from latchkey.credentials.limits import StoredLimit, rate_limit
from tests.support.auth.limited_box import LimitedBox

URL = "/verify/nginx?scope=a"
PLAN = LimitPlan((StoredLimit(1, rate_limit("10/second")),))
POLICY = ("RateLimit-Policy", '"default";q=10;w=1')
LEARNED = (("X-Latchkey-Key", "ak"),)


def left(units: int) -> tuple[str, str]:
    return ("RateLimit", f'"default";r={units};t=1')


class Known:
    """Known answers for one key, in front of applications that note what reaches them."""

    def __init__(self, box: LimitedBox) -> None:
        self.box = box
        self.reached: list[tuple[str, LimitOutcome | None]] = []
        authenticator = box.worker.authenticator
        self.counters = authenticator.verified
        self.answers = KnownAnswers(
            self._named("undecided"),
            self._named("admitted"),
            box.check(takes_limits=False),
            variables=("HTTP_METHOD", "HTTP_TARGET", "HTTP_HOST"),
            named=object(),
            compares_query=False,
            counters=self.counters,
            alone=authenticator.counts_alone,
            allowed=0,
        )

    def _named(self, name: str) -> Any:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            self.reached.append((name, environ.get("latchkey.limits")))
            start_response("204 No Content", [("By", name)])
            return []

        return application

    def environ(self) -> dict[str, Any]:
        return {
            **self.box.request(),
            "RAW_URI": URL,
            "HTTP_METHOD": "GET",
            "HTTP_TARGET": "/orders",
            "HTTP_HOST": "example.com",
        }

    def learn(self, cost: int, principal: object = None) -> None:
        known = principal or self.box.worker.authenticate(self.box.secret)
        self.answers.learn(self.environ(), known, "200 OK", LEARNED, cost)  # type: ignore[arg-type]

    def ask(self) -> tuple[str, list[tuple[str, str]]]:
        started: list[Any] = []
        start: Any = lambda *given: started.append(given)  # noqa: E731
        self.answers(self.environ(), start)
        ((status, headers),) = started
        return status, headers


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedBox]:
    box = LimitedBox(tmp_path_factory.mktemp("known") / "latchkey.db")
    yield box
    box.worker.close()


@pytest.fixture
def known(box: LimitedBox) -> Known:
    box.fill_buckets()
    box.limit(PLAN)
    return Known(box)


def test_the_cost_of_the_url_is_taken_and_told(known: Known) -> None:
    known.learn(3)
    uses, allowed = known.box.uses(), known.counters.value(0)
    for units in (7, 4, 1):
        assert known.ask() == ("200 OK", [*LEARNED, POLICY, left(units)])
    assert known.reached == []
    assert (known.box.uses(), known.counters.value(0)) == (uses + 3, allowed + 3)
    # A refusal is decided by Python. It is no use, and takes nothing.
    assert known.ask() == ("204 No Content", [("By", "undecided")])
    assert known.reached == [("undecided", None)]
    assert known.box.uses() == uses + 3
    assert PLAN.look(known.box.tables).levels() == [("default", 1, 1)]


def test_without_a_cost_a_key_with_limits_is_left_to_python(known: Known) -> None:
    known.learn(0)
    uses = known.box.uses()
    assert known.ask() == ("204 No Content", [("By", "undecided")])
    assert PLAN.look(known.box.tables).levels() == [("default", 10, 0)]
    assert known.box.uses() == uses
    known.learn(2)
    assert known.ask() == ("200 OK", [*LEARNED, POLICY, left(8)])


def test_a_principal_without_an_answer_has_paid(known: Known) -> None:
    """Another one asked at the same URL before, so the cost is known."""
    known.learn(4, principal=object())
    assert known.ask() == ("204 No Content", [("By", "admitted"), POLICY, left(6)])
    ((name, outcome),) = known.reached
    assert name == "admitted"
    assert outcome is not None
    assert outcome.cost == 4


def test_keys_without_limits_are_answered_as_before(known: Known) -> None:
    known.box.limit(None)
    known.learn(3)
    assert known.ask() == ("200 OK", list(LEARNED))
    assert known.reached == []


@pytest.mark.parametrize("cost", [-1, 1_000_001])
def test_an_invalid_cost_is_refused(known: Known, cost: int) -> None:
    with pytest.raises(ValueError, match="cost"):
        known.learn(cost)
