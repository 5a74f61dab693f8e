"""Throttling by address: whose failure it is, and when there have been too many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.throttle import FailureThrottle, caller_address
from app.errors import RateLimited
from fastcache import KeyedDigest, WindowTable
from tests.auth.worker import Time, new_throttle


def environ(peer: str = "", forwarded: str | None = None) -> dict[str, str]:
    headers = {"REMOTE_ADDR": peer}
    if forwarded is not None:
        headers["HTTP_X_FORWARDED_FOR"] = forwarded
    return headers


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "127.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        # An IPv4 client of a server that listens on both.
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:c000:207", "192.0.2.7"),
        # A unix socket: all its callers are one.
        ("", ""),
        ("not an address", "not an address"),
    ],
)
def test_the_peers_address(peer: str, address: str) -> None:
    assert caller_address(environ(peer), 0) == address
    # Nobody is believed unless a proxy of ours is in front.
    assert caller_address(environ(peer, "203.0.113.9"), 0) == address


def test_no_peer_at_all() -> None:
    assert caller_address({}, 0) == caller_address({}, 1) == ""


@pytest.mark.parametrize(
    ("forwarded", "proxies", "address"),
    [
        ("203.0.113.9", 1, "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", 1, "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", 2, "198.51.100.1"),
        ("198.51.100.1,203.0.113.9,192.0.2.44", 2, "203.0.113.9"),
        ("  198.51.100.1  ,\t203.0.113.9 ", 2, "198.51.100.1"),
        # What a client wrote itself stands further left, and counts for nothing.
        ("6.6.6.6, 203.0.113.9", 1, "203.0.113.9"),
        ("garbage, 203.0.113.9", 1, "203.0.113.9"),
        ("2001:db8::5", 1, "2001:db8::/64"),
        ("::ffff:203.0.113.9", 1, "203.0.113.9"),
        # Shorter than it must be, or no address there: the peer's.
        ("203.0.113.9", 2, "192.0.2.7"),
        ("", 1, "192.0.2.7"),
        (None, 1, "192.0.2.7"),
        ("garbage", 1, "192.0.2.7"),
        ("203.0.113.9, unknown", 1, "192.0.2.7"),
        ("203.0.113.9, ", 1, "192.0.2.7"),
        ("203.0.113.9:443", 1, "192.0.2.7"),
        ("[2001:db8::5]", 1, "192.0.2.7"),
        ("203.0.113.999", 1, "192.0.2.7"),
        (",,,,", 3, "192.0.2.7"),
    ],
)
def test_the_address_behind_proxies(forwarded: str | None, proxies: int, address: str) -> None:
    assert caller_address(environ("192.0.2.7", forwarded), proxies) == address


def test_proxies_at_a_unix_socket() -> None:
    assert caller_address(environ("", "203.0.113.9"), 1) == "203.0.113.9"
    assert caller_address(environ("", "garbage"), 1) == ""


@given(st.text(), st.text(), st.integers(0, 16))
def test_no_header_crashes_it(peer: str, forwarded: str, proxies: int) -> None:
    address = caller_address(environ(peer, forwarded), proxies)
    assert address == caller_address(environ(peer, forwarded), proxies)


def test_the_limit_is_for_each_address() -> None:
    throttle = new_throttle("3/hour")
    for peer in ("192.0.2.7", "192.0.2.8", "2001:db8::1", ""):
        for _ in range(3):
            throttle.count_failure(environ(peer))
        with pytest.raises(RateLimited) as raised:
            throttle.count_failure(environ(peer))
        assert 1 <= raised.value.retry_after <= 3600
    # A whole /64 is one caller.
    with pytest.raises(RateLimited):
        throttle.count_failure(environ("2001:db8::ffff"))
    throttle.count_failure(environ("2001:db8:0:1::1"))


def test_behind_a_proxy_its_callers_are_told_apart() -> None:
    throttle = new_throttle("1/hour", trusted_proxies=1)
    throttle.count_failure(environ("192.0.2.7", "203.0.113.1"))
    throttle.count_failure(environ("192.0.2.7", "203.0.113.2"))
    with pytest.raises(RateLimited):
        throttle.count_failure(environ("192.0.2.7", "6.6.6.6, 203.0.113.1"))


def test_off_counts_nothing() -> None:
    throttle = new_throttle("off")
    for _ in range(1000):
        throttle.count_failure(environ("192.0.2.7"))


def test_a_window_ends_for_everybody_at_once() -> None:
    timer = Time(119.0)
    throttle = new_throttle("2/minute", timer=timer)
    for _ in range(2):
        throttle.count_failure(environ("192.0.2.7"))
    for left in (1, 0):
        with pytest.raises(RateLimited) as raised:
            throttle.count_failure(environ("192.0.2.7"))
        assert raised.value.retry_after == 1
        timer.now += 0.9 * left
    timer.now = 120.0
    throttle.count_failure(environ("192.0.2.7"))


def test_what_time_is_left_is_told_in_whole_seconds() -> None:
    for moment, left in ((0.0, 60), (0.5, 60), (1.0, 59), (59.999, 1), (60.0, 60)):
        throttle = new_throttle("1/minute", timer=Time(moment))
        throttle.count_failure(environ("192.0.2.7"))
        with pytest.raises(RateLimited) as raised:
            throttle.count_failure(environ("192.0.2.7"))
        assert raised.value.retry_after == left


@pytest.mark.parametrize("limit", ["", "0/minute", "3", "3/week", "1000000/minute", "3/minute "])
def test_a_limit_that_is_none(limit: str) -> None:
    with pytest.raises(ValueError, match="COUNT/second"):
        new_throttle(limit)


def test_workers_count_together() -> None:
    digest, table = KeyedDigest(b"of the box"), WindowTable()
    first, second = (FailureThrottle("3/hour", table, digest) for _ in range(2))
    for throttle in (first, second, first):
        throttle.count_failure(environ("192.0.2.7"))
    for throttle in (first, second):
        with pytest.raises(RateLimited):
            throttle.count_failure(environ("192.0.2.7"))
    second.count_failure(environ("192.0.2.8"))
