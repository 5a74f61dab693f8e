"""Throttling by address: how failures are attributed, and when the limit is exceeded."""

from __future__ import annotations

import pytest

from fastcache.shared import KeyedDigest, WindowTable
from latchkey.box.throttle import FailureThrottle
from latchkey.errors import TooManyFailures
from tests.support.auth.worker import Time, new_throttle


def environ(peer: str = "", forwarded: str | None = None) -> dict[str, str]:
    headers = {"REMOTE_ADDR": peer}
    if forwarded is not None:
        headers["HTTP_X_FORWARDED_FOR"] = forwarded
    return headers


def test_the_limit_applies_to_each_address() -> None:
    throttle = new_throttle("3/day")
    for peer in ("192.0.2.7", "192.0.2.8", "2001:db8::1", ""):
        for _ in range(3):
            throttle.count_failure(environ(peer))
        with pytest.raises(TooManyFailures) as raised:
            throttle.count_failure(environ(peer))
        assert 1 <= raised.value.retry_after <= 86_400
    # A whole /64 is counted as one caller.
    with pytest.raises(TooManyFailures):
        throttle.count_failure(environ("2001:db8::ffff"))
    throttle.count_failure(environ("2001:db8:0:1::1"))


def test_callers_behind_a_proxy_are_distinguished() -> None:
    throttle = new_throttle("1/day", trusted_proxies=1)
    throttle.count_failure(environ("192.0.2.7", "203.0.113.1"))
    throttle.count_failure(environ("192.0.2.7", "203.0.113.2"))
    for forwarded in ("6.6.6.6, 203.0.113.1", "203.0.113.1:5678", "[::ffff:203.0.113.1]:80"):
        with pytest.raises(TooManyFailures):
            throttle.count_failure(environ("192.0.2.7", forwarded))


def test_off_counts_nothing() -> None:
    throttle = new_throttle("off")
    for _ in range(1000):
        throttle.count_failure(environ("192.0.2.7"))


def test_a_window_ends_for_all_callers_at_once() -> None:
    timer = Time(119.0)
    throttle = new_throttle("2/minute", timer=timer)
    for _ in range(2):
        throttle.count_failure(environ("192.0.2.7"))
    for left in (1, 0):
        with pytest.raises(TooManyFailures) as raised:
            throttle.count_failure(environ("192.0.2.7"))
        assert raised.value.retry_after == 1
        timer.now += 0.9 * left
    timer.now = 120.0
    throttle.count_failure(environ("192.0.2.7"))


def test_the_remaining_time_is_in_whole_seconds() -> None:
    for moment, left in ((0.0, 60), (0.5, 60), (1.0, 59), (59.999, 1), (60.0, 60)):
        throttle = new_throttle("1/minute", timer=Time(moment))
        throttle.count_failure(environ("192.0.2.7"))
        with pytest.raises(TooManyFailures) as raised:
            throttle.count_failure(environ("192.0.2.7"))
        assert raised.value.retry_after == left


@pytest.mark.parametrize("limit", ["", "0/minute", "3", "3/week", "1000000/minute", "3/minute "])
def test_an_invalid_limit(limit: str) -> None:
    with pytest.raises(ValueError, match="COUNT/second"):
        new_throttle(limit)


def test_workers_count_together() -> None:
    digest, table = KeyedDigest(b"of the box"), WindowTable()
    first, second = (FailureThrottle("3/day", table, digest) for _ in range(2))
    for throttle in (first, second, first):
        throttle.count_failure(environ("192.0.2.7"))
    for throttle in (first, second):
        with pytest.raises(TooManyFailures):
            throttle.count_failure(environ("192.0.2.7"))
    second.count_failure(environ("192.0.2.8"))
