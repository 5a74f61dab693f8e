"""Conditions of keys on every way to a decision: compiled, Python, shared cache, other backends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latchkey import wsgi
from latchkey.addresses import ClientAddresses
from latchkey.box.counter_names import Count, Use
from latchkey.check._entry import CacheEntry
from latchkey.credentials.conditions import (
    Conditions,
    ConditionTerms,
    Evaluation,
    RequestFacts,
    parse_endpoints,
    parse_networks,
)
from latchkey.credentials.models import Change, Principal
from latchkey.credentials.times import utc_now
from tests.support.audited import TESTER
from tests.support.auth.shared_box import SharedBox
from tests.support.auth.worker import Worker, api_key

NETWORKS = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]
ENDPOINTS = ["GET /orders/**", "POST /orders", "* /status", "GET /ü/*"]
ADDRESSES = ["10.1.2.3", "192.0.2.7", "192.0.2.8", "2001:db8::5", "::ffff:10.0.0.1", "", "x"]
PATHS = ["/orders", "/orders/17", "/status", "/", "/ü/1".encode().decode("latin-1")]

PRINCIPAL = Principal(
    7, "acct_x", f"ak_live_{'0' * 22}", "live", "name", frozenset({"orders:read:eu-*"}), None
)

some_conditions = st.builds(
    Conditions,
    enabled=st.sampled_from([True, True, True, False]),
    not_before=st.sampled_from([None, None, timedelta(days=-1), timedelta(days=1)]).map(
        lambda delta: None if delta is None else utc_now() + delta
    ),
    networks=st.none() | st.lists(st.sampled_from(NETWORKS), min_size=1).map(parse_networks),
    networks_mode=st.sampled_from(["enforce", "enforce", "observe"]),
    endpoints=st.none() | st.lists(st.sampled_from(ENDPOINTS), min_size=1).map(parse_endpoints),
)
some_requests = st.tuples(
    st.sampled_from(["GET", "HEAD", "POST", "DELETE"]),
    st.sampled_from(PATHS),
    st.sampled_from(ADDRESSES),
)


def terms(conditions: Conditions) -> ConditionTerms:
    return ConditionTerms(
        enabled=conditions.enabled,
        not_before=conditions.not_before,
        networks=conditions.networks,
        networks_mode=conditions.networks_mode,
        endpoints=conditions.endpoints,
    )


def expected(conditions: Conditions, method: str, path: str, address: str) -> tuple[int, str]:
    """The answer that the contract gives: the status, and the code of a refusal."""
    if not conditions.enabled:
        return 401, "key_disabled"
    if conditions.not_before is not None and utc_now() < conditions.not_before:
        return 401, "key_not_yet_valid"
    if conditions.networks is not None and conditions.networks_mode == "enforce":
        try:
            caller = ip_address(address)
        except ValueError:
            return 403, "address_not_allowed"
        caller = getattr(caller, "ipv4_mapped", None) or caller
        if not any(caller in network for network in conditions.networks):
            return 403, "address_not_allowed"
    if conditions.endpoints is not None:
        if not any(_matches(str(rule), method, path) for rule in conditions.endpoints):
            return 403, "endpoint_not_allowed"
    return 200, ""


def _matches(rule: str, method: str, path: str) -> bool:
    """The rules of ENDPOINTS, by hand."""
    if rule == "GET /orders/**":
        return method in ("GET", "HEAD") and path in ("/orders", "/orders/17")
    if rule == "POST /orders":
        return method == "POST" and path == "/orders"
    if rule == "* /status":
        return path == "/status"
    return method in ("GET", "HEAD") and path.startswith("/Ã¼/")


class Ways:
    """Every way of deciding a request, over one database and one shared state."""

    def __init__(self, box: SharedBox) -> None:
        self.first, self.second = box.worker(), box.worker()
        shared = self.first.authenticator.shared
        self.others = [
            Worker(self.first.path, backend=backend, fresh=False, shared=shared, real_time=True)
            for backend in ("cachetools", "none")
        ]
        self.workers = [self.first, self.second, *self.others]
        self.middlewares: list[Any] = [
            wsgi.middleware(
                answer_ok,
                worker.authenticator,
                addresses=ClientAddresses(),
            )
            for worker in self.workers
        ]

    def answers(self, environ: dict[str, Any]) -> Iterator[tuple[int, str]]:
        """The answer on each way, twice: the first fills caches, the second finds entries."""
        for _ in range(2):
            for middleware in self.middlewares:
                yield answered(middleware, dict(environ))
                policy = middleware.application.policy
                yield answered(lambda *call, policy=policy: plainly(policy, *call), dict(environ))

    def close(self) -> None:
        for worker in self.others:
            worker.close()


def answer_ok(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b""]


def plainly(policy: Any, environ: Any, start_response: Any) -> Any:
    refusal = policy.examine(environ, start_response)
    return answer_ok(environ, start_response) if refusal is None else refusal


def answered(call: Callable[..., Any], environ: dict[str, Any]) -> tuple[int, str]:
    started: list[str] = []
    body = b"".join(call(environ, lambda status, headers, exc_info=None: started.append(status)))
    code = ""
    if body:
        code = json.loads(body)["error"]["code"]
    return int(started[0][:3]), code


def request(
    secret: str, method: str = "GET", path: str = "/", address: str = "10.1.2.3"
) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "REMOTE_ADDR": address,
        "HTTP_AUTHORIZATION": f"Bearer {secret}",
    }


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    box = SharedBox(tmp_path_factory.mktemp("ways"))
    ways = Ways(box)
    yield ways
    ways.close()
    box.close()


def issue(worker: Worker, conditions: Conditions) -> str:
    return worker.service.issue(
        name="x", caller=None, by=TESTER, conditions=terms(conditions)
    ).secret


@settings(max_examples=60, deadline=None)
@given(conditions=some_conditions, requests=st.lists(some_requests, min_size=1, max_size=3))
def test_every_way_gives_the_answer_of_the_contract(
    ways: Ways, conditions: Conditions, requests: list[tuple[str, str, str]]
) -> None:
    secret = issue(ways.first, conditions)
    for method, path, address in requests:
        wanted = expected(conditions, method, path, address)
        for status, code in ways.answers(request(secret, method, path, address)):
            # A refusal of HEAD has no body.
            assert (status, code) == (wanted[0], "" if method == "HEAD" else wanted[1])


def test_a_wrong_secret_learns_nothing_of_the_conditions(ways: Ways) -> None:
    secret = issue(ways.first, Conditions(enabled=False))
    wrong = secret[:40] + ("0" if secret[40] != "0" else "1") + secret[41:]
    for answer in ways.answers(request(wrong)):
        assert answer == (401, "invalid_api_key")


CHANGES: list[tuple[ConditionTerms, tuple[int, str]]] = [
    ({"enabled": False}, (401, "key_disabled")),
    ({"enabled": True}, (200, "")),
    ({"networks": parse_networks(["192.0.2.0/24"])}, (403, "address_not_allowed")),
    ({"networks_mode": "observe"}, (200, "")),
    ({"endpoints": parse_endpoints(["POST /**"])}, (403, "endpoint_not_allowed")),
    ({"endpoints": None}, (200, "")),
    ({"not_before": datetime(2999, 1, 1, tzinfo=UTC)}, (401, "key_not_yet_valid")),
    ({"not_before": None}, (200, "")),
]


def test_a_change_is_effective_on_every_way_when_it_returns(ways: Ways) -> None:
    secret = issue(ways.first, Conditions())
    assert set(ways.answers(request(secret))) == {(200, "")}
    for change, wanted in CHANGES:
        ways.second.service.change(api_key(secret), Change(conditions=change), None, by=TESTER)
        assert set(ways.answers(request(secret))) == {wanted}, change


def test_refusals_are_counted_by_reason(ways: Ways) -> None:
    for change, reason, counter in (
        (Conditions(enabled=False), Use.DISABLED, Count.DISABLED),
        (
            Conditions(not_before=datetime(2999, 1, 1, tzinfo=UTC)),
            Use.NOT_YET_VALID,
            Count.NOT_YET_VALID,
        ),
        (Conditions(networks=parse_networks(["::1"])), Use.ADDRESS, Count.ADDRESS),
        (Conditions(endpoints=parse_endpoints(["POST /"])), Use.ENDPOINT, Count.ENDPOINT),
    ):
        secret = issue(ways.first, change)
        credential = ways.first.store.find(api_key(secret))
        assert credential is not None
        totals = ways.first.authenticator.shared.worker_metrics.totals
        before = totals().counts[counter]
        refused = list(ways.answers(request(secret)))
        row = ways.first.authenticator.shared.uses.row(credential.id)
        assert row[reason] == len(refused)
        assert row[Use.USES] == 0
        assert totals().counts[counter] == before + len(refused)


def test_what_is_only_observed_is_admitted_and_counted(ways: Ways) -> None:
    secret = issue(
        ways.first, Conditions(networks=parse_networks(["::1"]), networks_mode="observe")
    )
    credential = ways.first.store.find(api_key(secret))
    assert credential is not None
    admitted = list(ways.answers(request(secret)))
    assert set(admitted) == {(200, "")}
    row = ways.first.authenticator.shared.uses.row(credential.id)
    assert row[Use.OBSERVED] == len(admitted)
    assert set(ways.answers(request(secret, address="::1"))) == {(200, "")}
    assert ways.first.authenticator.shared.uses.row(credential.id)[Use.OBSERVED] == len(admitted)


def test_an_entry_with_conditions_is_evaluated_each_time(ways: Ways) -> None:
    """It never enters the table of recent plain hits, whatever came before."""
    secret = issue(ways.first, Conditions(networks=parse_networks(["10.0.0.0/8"])))
    middleware = ways.middlewares[0]
    for _ in range(50):
        assert answered(middleware, request(secret)) == (200, "")
        assert answered(middleware, request(secret, address="192.0.2.1"))[0] == 403


@pytest.mark.parametrize("forwarded", [None, "", "x", "10.1.2.3, x", "10.1.2.3"])
def test_behind_a_proxy_an_unknown_address_is_refused(ways: Ways, forwarded: str | None) -> None:
    secret = issue(ways.first, Conditions(networks=parse_networks(["10.0.0.0/8"])))
    middleware = wsgi.middleware(
        answer_ok, ways.first.authenticator, addresses=ClientAddresses(trusted_proxies=2)
    )
    environ = request(secret, address="10.9.9.9")
    if forwarded is not None:
        environ["HTTP_X_FORWARDED_FOR"] = forwarded
    wanted = 200 if forwarded == "10.1.2.3, x" else 403
    assert answered(middleware, dict(environ))[0] == wanted


@settings(max_examples=60, deadline=None)
@given(some_conditions)
def test_a_record_carries_all_conditions(conditions: Conditions) -> None:
    principal = PRINCIPAL
    entry = CacheEntry(
        ticket=1,
        deadline=2,
        digest=b"d" * 16,
        principal=principal,
        revoked=False,
        conditions=conditions,
    )
    record = entry.record()
    assert record is not None
    found = CacheEntry.of_record(principal.api_key[3:], record, 1, 2)
    assert found is not None
    kept = found.evaluation
    assert (kept is None) == (conditions == Conditions())
    if kept is not None:
        assert kept.conditions == conditions
        facts = RequestFacts("GET", "/orders", ip_address("10.0.0.1"))
        assert type(kept.objection_to(facts)) is type(Evaluation(conditions).objection_to(facts))
    # Conditions that were cut off, or that nothing announces, make it no entry.
    assert CacheEntry.of_record(principal.api_key[3:], record + b"{}", 1, 2) is None
    if kept is not None:
        for cut in range(1, 10):
            assert CacheEntry.of_record(principal.api_key[3:], record[:-cut], 1, 2) is None


def test_the_database_is_read_once_for_a_key_with_conditions(ways: Ways) -> None:
    secret = issue(ways.first, Conditions(networks=parse_networks(["10.0.0.0/8"])))
    before = ways.first.reads.count + ways.second.reads.count
    for _ in range(5):
        for middleware in ways.middlewares[:2]:
            assert answered(middleware, request(secret)) == (200, "")
    assert ways.first.reads.count + ways.second.reads.count == before + 1
