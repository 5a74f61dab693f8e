"""Throttling: repeated failures from one address get 429, and nothing else does."""

from __future__ import annotations

import itertools

import pytest

from tests.support.api.contract import (
    INVALID,
    INVALID_FIELD,
    INVALID_REQUEST,
    MISSING,
    NOT_DERIVED,
    REVOKED,
    TOO_MANY_FAILURES,
    derived,
    forged,
    register,
    revoke,
)
from tests.support.service import Answer, Pair, Service

LIMIT = 3
_IPV6 = "2001:db8::5"
_addresses = (f"198.51.100.{number}" for number in itertools.count(1))


@pytest.fixture
def address() -> str:
    """An address that no other test uses."""
    return next(_addresses)


@pytest.fixture(scope="module")
def wrong(strict: Service) -> Pair:
    return forged(derived(strict))


def by(address: str) -> dict[str, str]:
    """The headers with a caller's address behind our two proxies."""
    return {"X-Forwarded-For": f"{address}, 10.0.0.1"}


def fail(service: Service, wrong: Pair, forwarded: dict[str, str]) -> Answer:
    return service.get("/v1/account", {**wrong.bearer, **forwarded})


def use_up(service: Service, wrong: Pair, forwarded: dict[str, str]) -> None:
    """Fail as often as allowed, and once more."""
    for _ in range(LIMIT):
        INVALID.check(fail(service, wrong, forwarded), "bearer", bearer=True)
    TOO_MANY_FAILURES.check(fail(service, wrong, forwarded), "bearer")


def register_from(service: Service, pair: Pair, address: str) -> Answer:
    return service.request("POST", "/credentials", by(address), json_body=vars(pair))


def test_failures_become_429(strict: Service, wrong: Pair, address: str) -> None:
    use_up(strict, wrong, by(address))
    answer = fail(strict, wrong, by(address))
    TOO_MANY_FAILURES.check(answer, "bearer")
    assert answer.headers["retry-after"].isdigit()
    assert 1 <= int(answer.headers["retry-after"]) <= 86_400
    answer = strict.get("/credentials", {**wrong.headers, **by(address)})
    TOO_MANY_FAILURES.check(answer, "pair")
    head = strict.request("HEAD", "/v1/account", {**wrong.bearer, **by(address)})
    assert (head.status, head.body) == (429, b"")
    assert "retry-after" in head.headers


def test_unknown_and_malformed_credentials_count_like_forged_ones(
    strict: Service, address: str
) -> None:
    for pair in (derived(strict), Pair("ak_x", "sk_x"), derived(strict, "test")):
        INVALID.check(fail(strict, pair, by(address)), "bearer", bearer=True)
    TOO_MANY_FAILURES.check(fail(strict, derived(strict), by(address)), "bearer")
    TOO_MANY_FAILURES.check(fail(strict, Pair("ak_x", "sk_x"), by(address)), "bearer")


def test_registration_counts_too(strict: Service, address: str) -> None:
    for _ in range(LIMIT):
        NOT_DERIVED.check(register_from(strict, forged(derived(strict)), address), "pair")
    answer = register_from(strict, forged(derived(strict)), address)
    TOO_MANY_FAILURES.check(answer, "pair")
    assert 1 <= int(answer.headers["retry-after"]) <= 86_400


def test_both_kinds_share_one_count(strict: Service, wrong: Pair, address: str) -> None:
    INVALID.check(fail(strict, wrong, by(address)), "bearer", bearer=True)
    NOT_DERIVED.check(register_from(strict, wrong, address), "pair")
    INVALID.check(fail(strict, wrong, by(address)), "bearer", bearer=True)
    TOO_MANY_FAILURES.check(register_from(strict, wrong, address), "pair")
    TOO_MANY_FAILURES.check(fail(strict, wrong, by(address)), "bearer")


def test_a_valid_key_from_a_throttled_address(strict: Service, wrong: Pair, address: str) -> None:
    good = strict.issue()
    use_up(strict, wrong, by(address))
    for headers in (good.bearer, good.headers):
        assert strict.get("/v1/account", {**headers, **by(address)}).status == 200
    made = derived(strict)
    assert register_from(strict, made, address).status == 201
    assert strict.get("/v1/account", {**made.bearer, **by(address)}).status == 200
    assert strict.request("GET", "/health", by(address)).status == 200


def test_no_other_response_becomes_429(strict: Service, wrong: Pair, address: str) -> None:
    revoked, owner = strict.issue(), strict.issue()
    assert revoke(strict, owner, revoked.api_key).status == 200
    use_up(strict, wrong, by(address))
    check_other_answers(strict, revoked, by(address))


def test_no_other_response_counts(strict: Service, wrong: Pair, address: str) -> None:
    revoked, owner = strict.issue(), strict.issue()
    assert revoke(strict, owner, revoked.api_key).status == 200
    for _ in range(LIMIT + 1):
        check_other_answers(strict, revoked, by(address))
    use_up(strict, wrong, by(address))


def check_other_answers(service: Service, revoked: Pair, forwarded: dict[str, str]) -> None:
    """One of each refusal that is not a failed authentication."""
    MISSING.check(service.get("/v1/account", forwarded), "bearer")
    REVOKED.check(
        service.get("/v1/account", {**revoked.bearer, **forwarded}), "bearer", bearer=True
    )
    both = {**revoked.bearer, **revoked.headers, **forwarded}
    INVALID_REQUEST.check(service.get("/v1/account", both), "bearer", bearer=True)
    answer = service.request("POST", "/credentials", forwarded, json_body={"api_key": "x"})
    INVALID_FIELD.check(answer, "pair")


def test_successful_requests_do_not_count(strict: Service, wrong: Pair, address: str) -> None:
    good = strict.issue()
    for _ in range(LIMIT + 1):
        assert strict.get("/v1/account", {**good.bearer, **by(address)}).status == 200
    use_up(strict, wrong, by(address))


def test_addresses_are_counted_separately(strict: Service, wrong: Pair) -> None:
    use_up(strict, wrong, by(next(_addresses)))
    use_up(strict, wrong, by(next(_addresses)))


# Through proxies.


def test_address_is_counted_from_the_right(strict: Service, wrong: Pair, address: str) -> None:
    """Entries that a caller adds, and the name of our outer proxy, have no effect."""
    forwarded = [
        {"X-Forwarded-For": f"{spoofed}{address}, 10.0.0.{number}"}
        for number, spoofed in enumerate(
            ("", "1.2.3.4, ", "5.6.7.8, 9.9.9.9, ", "garbage, , ", f"{next(_addresses)}, ")
        )
    ]
    for headers in forwarded[:LIMIT]:
        INVALID.check(fail(strict, wrong, headers), "bearer", bearer=True)
    for headers in forwarded:
        TOO_MANY_FAILURES.check(fail(strict, wrong, headers), "bearer")


def test_a_header_in_two_lines(strict: Service, wrong: Pair, address: str) -> None:
    use_up(strict, wrong, by(address))
    for pair_of_lines in ([address, "10.0.0.1"], [f"1.2.3.4, {address}", "10.0.0.1"]):
        head = "".join(f"X-Forwarded-For: {line}\r\n" for line in pair_of_lines)
        data = f"GET /v1/account HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n{head}\r\n"
        TOO_MANY_FAILURES.check(strict.send_raw(data.encode()), "bearer")


def test_an_address_in_every_notation_of_proxies(
    strict: Service, wrong: Pair, address: str
) -> None:
    forms = [f"{address}:5678", f'"{address}:1"', f"::ffff:{address}", f"[::ffff:{address}]:80"]
    for form in forms[:LIMIT]:
        INVALID.check(fail(strict, wrong, by(form)), "bearer", bearer=True)
    for form in (address, *forms):
        TOO_MANY_FAILURES.check(fail(strict, wrong, by(form)), "bearer")
    ipv6 = ["2001:db8:5::1", "[2001:db8:5::2]", '"[2001:db8:5::3]:443"', "[2001:db8:5::4%25e0]:1"]
    for form in ipv6[:LIMIT]:
        INVALID.check(fail(strict, wrong, by(form)), "bearer", bearer=True)
    TOO_MANY_FAILURES.check(fail(strict, wrong, by(ipv6[LIMIT])), "bearer")


def test_address_is_recorded_without_its_port(strict: Service) -> None:
    pair = derived(strict)
    assert register_from(strict, pair, f'"[{_IPV6}%25eth0]:443"').status == 201
    with strict.rows.connected() as connection:
        recorded = connection.execute(
            "SELECT address FROM audit WHERE subject = ?", [pair.api_key]
        ).fetchall()
    assert recorded == [(_IPV6,)]


def test_a_shorter_list_selects_the_peer(strict: Service, wrong: Pair) -> None:
    """A proxy was bypassed, so no entry of the list can be trusted."""
    peers: list[dict[str, str]] = [
        {},
        {"X-Forwarded-For": "203.0.113.1"},
        {"X-Forwarded-For": ""},
        {"X-Forwarded-For": "203.0.113.2"},
        {"X-Forwarded-For": "not an address, 10.0.0.1"},
    ]
    for headers in peers[:LIMIT]:
        INVALID.check(fail(strict, wrong, headers), "bearer", bearer=True)
    for headers in peers:
        TOO_MANY_FAILURES.check(fail(strict, wrong, headers), "bearer")
    INVALID.check(fail(strict, wrong, by("203.0.113.1")), "bearer", bearer=True)


def test_ipv6_addresses_are_counted_by_network(strict: Service, wrong: Pair) -> None:
    for host in ("1", "2", "ffff:ffff:ffff:ffff"):
        headers = by(f"2001:db8:7:8:{host}" if host.count(":") else f"2001:db8:7:8::{host}")
        INVALID.check(fail(strict, wrong, headers), "bearer", bearer=True)
    TOO_MANY_FAILURES.check(fail(strict, wrong, by("2001:DB8:7:8:0:0:0:99")), "bearer")
    INVALID.check(fail(strict, wrong, by("2001:db8:7:9::1")), "bearer", bearer=True)


def test_a_mapped_ipv4_address_counts_as_ipv4(strict: Service, wrong: Pair, address: str) -> None:
    use_up(strict, wrong, by(f"::ffff:{address}"))
    TOO_MANY_FAILURES.check(fail(strict, wrong, by(address)), "bearer")
    INVALID.check(fail(strict, wrong, by(next(_addresses))), "bearer", bearer=True)


def test_without_proxies_the_header_is_ignored(closed: Service) -> None:
    wrong = forged(derived(closed))
    for _ in range(LIMIT):
        INVALID.check(fail(closed, wrong, by(next(_addresses))), "bearer", bearer=True)
    TOO_MANY_FAILURES.check(fail(closed, wrong, by(next(_addresses))), "bearer")
    TOO_MANY_FAILURES.check(fail(closed, wrong, {}), "bearer")


def test_the_limit_can_be_off(service: Service, live: Pair) -> None:
    for _ in range(50):
        answer = service.get("/v1/account", forged(live).bearer)
        INVALID.check(answer, "bearer", bearer=True)
    NOT_DERIVED.check(register(service, forged(live)), "pair")
