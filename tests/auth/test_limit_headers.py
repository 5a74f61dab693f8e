"""Headers of limits, which the gate adds when a response starts."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from latchkey.check._gate import Gate
from latchkey.check._limits import TAKEN, LimitPlan
from latchkey.credentials.limits import StoredLimit, rate_limit
from tests.support.auth.limited_box import LIMITS, ONE
from tests.support.auth.limited_box import LimitedBox as Box

pytestmark = pytest.mark.usefixtures("filled_buckets")


@pytest.fixture(scope="module")
def box(limited_box: Box) -> Box:
    """A worker with one key, whose limits run by a clock of the test."""
    return limited_box


class Undecided:
    """A policy that refuses, or admits as the policy in Python does."""

    def __init__(self, admits: Callable[[dict[str, Any]], bool]) -> None:
        self._admits = admits

    def examine(self, environ: Any, start_response: Any) -> Any:
        if self._admits(environ):
            return None
        start_response("429 Too Many Requests", [("A", "b")])
        return [b"refused"]


Started = tuple[str, list[tuple[str, str]]]


def gate_of(box: Box, application: Any, policy: Any = None, **options: Any) -> Gate:
    decides: Any = policy or Undecided(lambda environ: False)
    return Gate(application, box.check(**options), decides)


def ask(gate: Gate, environ: dict[str, Any]) -> tuple[list[Started], bytes]:
    started: list[Started] = []

    def start_response(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        started.append((status, list(headers)))
        # The server may change the list.
        headers.clear()
        return written.append

    written: list[bytes] = []
    body = b"".join(gate(environ, start_response))
    return started, b"".join(written) + body


def told(left: int, after: int = 1) -> list[tuple[str, str]]:
    return [
        ("RateLimit-Policy", '"default";q=10;w=1'),
        ("RateLimit", f'"default";r={left};t={after}'),
    ]


def test_the_headers_are_added_when_the_response_starts(box: Box) -> None:
    same = [("Content-Type", "text/plain")]

    def streams(environ: Any, start_response: Any) -> Iterator[bytes]:
        # A view may take more before it starts.
        assert ONE.take(box.tables, 2).verdict == TAKEN
        write = start_response("200 OK", same)
        write(b"one ")
        yield b"two "
        yield b"three"

    box.limit(ONE)
    gate = gate_of(box, streams)
    for left in (7, 4, 1):
        (answer,), body = ask(gate, box.request())
        assert answer == ("200 OK", [("Content-Type", "text/plain"), *told(left)])
        assert body == b"one two three"
    assert same == [("Content-Type", "text/plain")]
    # The next one takes the last unit, and its view finds too little.
    with pytest.raises(AssertionError):
        ask(gate, box.request())


def test_a_response_that_starts_again_has_them_once(box: Box) -> None:
    def fails(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("A", "1")])
        try:
            raise ValueError
        except ValueError:
            start_response("500 Oops", [("B", "2")], sys.exc_info())
        return []

    box.limit(ONE)
    started, _ = ask(gate_of(box, fails), box.request())
    assert started == [
        ("200 OK", [("A", "1"), *told(9)]),
        ("500 Oops", [("B", "2"), *told(9)]),
    ]


def test_the_other_style_tells_of_the_most_restrictive_limit(box: Box) -> None:
    def answers(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    plan = LimitPlan(
        (StoredLimit(1, rate_limit("10/second")),),
        (StoredLimit(2, rate_limit("5/minute", "slow")),),
    )
    box.limit(plan)
    (answer,), _ = ask(gate_of(box, answers, header_style="x"), box.request())
    assert answer[1] == [
        ("X-RateLimit-Limit", "5"),
        ("X-RateLimit-Remaining", "4"),
        ("X-RateLimit-Reset", "12"),
    ]


def test_requests_that_the_policy_admits_have_them_too(box: Box) -> None:
    def answers(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    def admits(environ: dict[str, Any]) -> bool:
        environ[LIMITS] = ONE.take(box.tables)
        return True

    box.limit(ONE, revoked=True)
    (answer,), _ = ask(gate_of(box, answers, Undecided(admits)), box.request())
    assert answer == ("200 OK", told(9))
    # Nothing is added to a refusal: the policy does that.
    (answer,), body = ask(gate_of(box, answers), box.request())
    assert (answer, body) == (("429 Too Many Requests", [("A", "b")]), b"refused")


def test_requests_of_other_keys_are_passed_on_unchanged(box: Box) -> None:
    passed: list[Any] = []

    def keeps(environ: Any, start_response: Any) -> list[bytes]:
        passed.append(start_response)
        return []

    def start_response(*given: Any) -> Any:
        raise AssertionError

    box.limit(None)
    gate = gate_of(box, keeps, Undecided(lambda environ: True))
    gate(box.request(), start_response)
    gate({**box.request(), "HTTP_AUTHORIZATION": "Bearer x"}, start_response)
    assert passed == [start_response] * 2


@pytest.mark.parametrize("given_", [(), ("200 OK",), ("200 OK", [], None, None), ("200 OK", 5)])
def test_a_wrong_start_raises(box: Box, given_: tuple[Any, ...]) -> None:
    def starts(environ: Any, start_response: Any) -> list[bytes]:
        start_response(*given_)
        return []

    box.limit(ONE)
    with pytest.raises(TypeError):
        ask(gate_of(box, starts), box.request())
    with pytest.raises(TypeError):
        ask(
            gate_of(box, lambda environ, start_response: start_response("200 OK", headers=[])),
            box.request(),
        )


def test_nothing_leaks(box: Box) -> None:
    def answers(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    box.limit(LimitPlan((StoredLimit(1, rate_limit("1000000/second")),)))
    gate = gate_of(box, answers)

    def work(times: int) -> int:
        for _ in range(times):
            ask(gate, box.request())
        gc.collect()
        return sys.getallocatedblocks()

    work(500)
    assert min(work(500) - work(500) for _ in range(5)) < 100
