"""Limits are exact over all workers, also while processes are killed, reloaded and upgraded."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import http_sf
import pytest

from latchkey.credentials.models import Change
from tests.support.faults.limited import (
    OPERATOR,
    Seen,
    assert_within_rate,
    limited_key,
    limits_of,
    operating,
    sending,
)
from tests.support.faults.outage import assert_internal_error
from tests.support.faults.service_processes import (
    children,
    is_alive,
    kill_all,
    master,
    wait_until,
    workers,
)
from tests.support.service import Answer, Pair, Service

pytestmark = pytest.mark.attack

WORKERS = 4
SECOND = 10**9


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Four workers; a test must leave them running."""
    directory = tmp_path_factory.mktemp("limits")
    with Service(directory, LATCHKEY_WORKERS=f"{WORKERS}", LATCHKEY_FAILURE_LIMIT="off") as service:
        yield service


def await_workers(service: Service, without: set[int]) -> None:
    """Wait until all workers run, and none of these."""

    def are_there() -> bool:
        found = set(workers(service))
        return len(found) == int(service.settings["LATCHKEY_WORKERS"]) and not found & without

    wait_until(are_there, "new workers")


def kill_a_worker(service: Service, rng: random.Random) -> None:
    victim = rng.choice(workers(service))
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not is_alive(victim), "the worker's end")
    await_workers(service, {victim})


def reload(service: Service, rng: random.Random) -> None:
    before = set(workers(service))
    os.kill(master(service), signal.SIGHUP)
    await_workers(service, before)


def shared_files(service: Service) -> list[Path]:
    record = service.database.with_name(f"{service.database.name}-service")
    path = Path(json.loads(record.read_text())["segment"])
    return [path] if path.exists() else []


def kill_every_process(service: Service, rng: random.Random) -> None:
    kill_all(service)
    service.start()


# ---- rates


def test_a_rate_is_exact_over_workers(box: Service, long: bool) -> None:
    # With the larger burst, no pause of the machine is so long that the bucket is full again.
    burst, seconds = (100, 20) if long else (400, 3)
    pair = limited_key(box, {"rate": "100/second", "burst": burst})
    with sending(box, pair) as senders:
        time.sleep(seconds)
        senders.await_refusals(1)
    seen = sorted(senders.seen, key=lambda one: one.ended)
    assert set(senders.statuses) == {200, 429}
    # The server closes a connection whose client does not get the processor for some seconds.
    assert senders.broken < 8
    assert_within_rate(seen, SECOND // 100, burst)
    elapsed = seen[-1].ended - min(one.began for one in seen)
    bound = burst + elapsed * 100 // SECOND
    admitted = sum(one.admitted for one in seen)
    assert admitted <= bound
    if long:
        assert admitted + senders.broken >= 0.99 * bound
    else:
        # At a refusal, all that the rate allows since the first admission was admitted.
        first = min(one.ended for one in seen if one.admitted)
        for one in [one for one in seen if not one.admitted][-30:]:
            units = sum(other.admitted and other.began <= one.ended for other in seen)
            assert units + senders.broken >= burst + (one.began - first) * 100 // SECOND
    assert_headers(seen, burst)


def assert_headers(seen: list[Seen], burst: int) -> None:
    """Every answer tells what remains, and this never rises faster than the rate."""
    left = []
    for one in seen:
        policy, remaining = limit_headers(one.answer)
        assert policy == [("default", {"q": 100, "w": 1})]
        ((name, found),) = remaining
        assert name == "default"
        assert 0 <= found["r"] <= burst
        assert 0 <= found["t"] <= burst // 100 + 1
        left.append((one, found["r"]))
        if not one.admitted:
            assert one.answer.code == "rate_limited"
            assert int(one.answer.headers["retry-after"]) == 1
    # Answers whose times overlap may have been decided in either order.
    for (earlier, before), (later, after) in pairwise(left):
        if earlier.ended <= later.began:
            assert after <= before + 1 + (later.ended - earlier.began) * 100 // SECOND


def limit_headers(answer: Answer) -> list[list[tuple[str, dict[str, Any]]]]:
    """The values of RateLimit-Policy and RateLimit, parsed as Structured Fields."""
    found: list[list[tuple[str, dict[str, Any]]]] = []
    for name in ("ratelimit-policy", "ratelimit"):
        found.append(cast("Any", http_sf.parse(answer.headers[name].encode(), tltype="list")))
    return found


@pytest.mark.long
def test_a_rate_survives_kills_and_reloads(box: Service, long: bool) -> None:
    """Hardly anything becomes available again meanwhile, so exactly the burst is admitted."""
    rng = random.Random(26)
    events = [kill_a_worker, reload, kill_a_worker] * (20 if long else 1)
    burst = 120 * len(events)
    pair = limited_key(box, {"rate": "1/hour", "burst": burst})
    with sending(box, pair) as senders:
        for event in events:
            senders.await_more(40)
            event(box, rng)
        senders.await_refusals()
    assert senders.admitted <= burst <= senders.admitted + senders.broken
    assert set(senders.statuses) == {200, 429}
    assert_within_rate(senders.seen, 3600 * SECOND, burst)
    for event in (kill_a_worker, reload):
        event(box, rng)
        assert {box.get("/v1/account", pair.bearer).status for _ in range(12)} == {429}


def far_from_today() -> int:
    """A day of the month on which no period begins during a test."""
    return (datetime.now(UTC).day + 13) % 28 + 1


# ---- quotas


@pytest.mark.long
def test_a_quota_is_never_exceeded_over_kills(box: Service, long: bool) -> None:
    """Only requests in flight are lost."""
    rng = random.Random(27)
    events: list[Callable[[Service, random.Random], None]] = [
        *(kill_a_worker, kill_every_process, kill_a_worker)
    ] * (50 if long else 1)
    # About two thirds are spent during the events.
    quota = 90 * len(events)
    limit = {"name": "calls", "quota": quota, "period": "month", "refill_on": far_from_today()}
    pair = limited_key(box, limit)
    with sending(box, pair) as senders:
        for event in events:
            senders.await_more(60)
            event(box, rng)
        senders.await_refusals()
    assert set(senders.statuses) == {200, 429}
    assert senders.admitted <= quota <= senders.admitted + senders.broken
    refused = box.get("/v1/account", pair.bearer)
    assert refused.code == "quota_exceeded"
    assert int(refused.headers["retry-after"]) > 86_400
    box.stop()
    box.start()
    assert {box.get("/v1/account", pair.bearer).status for _ in range(12)} == {429}


def test_a_lost_segment_loses_its_reservation_at_most(box: Service, long: bool) -> None:
    """The memory is removed while nothing runs, as by a restart of the machine."""
    losses = 20 if long else 1
    quota = 1000 * losses
    pair = limited_key(box, {"name": "calls", "quota": quota, "period": "total"})
    with sending(box, pair) as senders:
        for _ in range(losses):
            senders.await_more(300)
            files = shared_files(box)
            kill_all(box)
            for file in files:
                file.unlink()
            box.start()
        senders.await_refusals()
    assert set(senders.statuses) == {200, 429}
    lost = losses * (quota // 100)
    assert senders.admitted <= quota <= senders.admitted + senders.broken + lost


def test_a_quota_needs_the_database_for_its_reservations(running: Service) -> None:
    """Without it, requests get 500 after the reserved units are spent, and never 401."""
    pair = limited_key(running, {"name": "calls", "quota": 300, "period": "total"})

    def ask() -> Answer:
        """An admitted request gets 404, without a read of the database."""
        return running.get("/v1/nothing", pair.bearer)

    assert [ask().status for _ in range(10)] == [404] * 10
    running.database.parent.chmod(0o000)
    try:
        statuses = [ask().status for _ in range(8)]
        refused = ask()
    finally:
        running.database.parent.chmod(0o700)
    # One percent is reserved at a time.
    assert statuses == [404] * 2 + [500] * 6
    assert_internal_error(refused, "internal_error")
    admitted = 10 + 2
    while (answer := ask()).status == 404:
        admitted += 1
    assert (answer.code, admitted) == ("quota_exceeded", 300)


# ---- whose limits


def test_rotated_keys_and_children_share_limits(box: Service) -> None:
    """Requests of all of them are in flight over all workers."""
    pair = limited_key(box, {"rate": "1/hour", "burst": 90})
    child = made(box.request("POST", "/v1/api_keys", pair.bearer, json_body={"name": "child"}))
    rotated = made(
        box.request(
            "POST",
            f"/v1/api_keys/{pair.api_key}/rotate",
            pair.bearer,
            json_body={"overlap_seconds": 600},
        )
    )
    grandchild = made(
        box.request("POST", "/v1/api_keys", rotated.bearer, json_body={"name": "grandchild"})
    )
    admitted = admitted_of(box, pair, child, rotated, grandchild)
    # Three requests made the keys.
    assert sum(admitted) == 90 - 3
    # Limits of its own detach a key from the others.
    with operating(box) as session:
        own = Change(limits=limits_of({"rate": "1/hour", "burst": 5}))
        session.credentials.change(child.api_key, own, None, by=OPERATOR)
    assert admitted_of(box, child) == [5]
    assert admitted_of(box, pair, rotated, grandchild) == [0, 0, 0]


def test_the_limits_of_an_account_count_in_each_mode(box: Service) -> None:
    with operating(box) as session:
        account = session.accounts.create(
            name="customer",
            limits=limits_of({"rate": "1/hour", "burst": 40}),
            caller=None,
            by=OPERATOR,
        )
    terms = {"account": account.id, "scopes": frozenset({"account:read"})}
    keys = [limited_key(box, mode=mode, **terms) for mode in ("live", "live", "test")]
    first, second, other = admitted_of(box, *keys)
    assert first + second == 40
    assert other == 40


def admitted_of(service: Service, *pairs: Pair) -> list[int]:
    """The requests that are admitted of keys that send at the same time, until all are refused."""
    with ExitStack() as stack:
        all_senders = [stack.enter_context(sending(service, pair, clients=2)) for pair in pairs]
        for senders in all_senders:
            senders.await_refusals(10)
    assert all(set(senders.statuses) <= {200, 429} for senders in all_senders)
    return [senders.admitted for senders in all_senders]


def made(answer: Answer) -> Pair:
    assert answer.status == 201, answer
    return Pair(answer.json["api_key"], answer.json["api_secret"])


# ---- the last test of the module, because the second master is not the fixture's


def test_limits_survive_an_upgrade(box: Service) -> None:
    """USR2: a second master joins the memory of the first one, and continues after its end."""
    old = master(box)
    await_workers(box, set())
    listening = box.log.count("Listening at")
    rate = limited_key(box, {"rate": "1/hour", "burst": 300})
    quota = limited_key(box, {"name": "calls", "quota": 300, "period": "total"})
    with sending(box, rate, 4) as of_rate, sending(box, quota, 4) as of_quota:
        of_rate.await_more(40)
        before = set(workers(box))
        os.kill(old, signal.SIGUSR2)
        wait_until(lambda: box.log.count("Listening at") == listening + 1, "the second master")
        (new,) = set(workers(box)) - before
        wait_until(lambda: len(children(new)) == WORKERS, "its workers")
        assert box.process is not None
        box.process.terminate()
        box.process.wait(60)
        of_rate.await_refusals()
        of_quota.await_refusals()
    try:
        for senders in (of_rate, of_quota):
            assert senders.admitted <= 300 <= senders.admitted + senders.broken
            assert set(senders.statuses) == {200, 429}
    finally:
        os.kill(new, signal.SIGTERM)
        wait_until(lambda: not is_alive(new), "the second master's end")
        box.process = None
