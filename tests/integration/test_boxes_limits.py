"""Quotas over several boxes on one PostgreSQL are exact, also while processes are killed."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import create_engine, update

from latchkey.credentials.limit_records import store_limits
from latchkey.credentials.limits import QuotaLimit, quota_limit, stored_limits_text
from latchkey.credentials.times import utc_now
from latchkey.store.limits import SqlLimitRecords
from latchkey.store.tables import credential
from tests.support.boxes.cluster import Cluster, running
from tests.support.faults.limited import sending
from tests.support.faults.service_processes import children, kill_all, master, wait_until, workers
from tests.support.postgresql import Postgresql, started
from tests.support.service import Pair

pytestmark = [pytest.mark.integration, pytest.mark.attack]

BOXES = 3
SETTINGS = {
    "LATCHKEY_LEASE": "2",
    "LATCHKEY_WORKERS": "2",
    "LATCHKEY_FAILURE_LIMIT": "off",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgresql]:
    with started() as server:
        yield server


@pytest.fixture(scope="module")
def cluster(server: Postgresql, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three boxes of two workers; a test must leave them running and healthy."""
    url = server.url(server.new_database())
    directory = tmp_path_factory.mktemp("limits")
    with running(directory, url, ("127.0.0.1", server.port), BOXES, **SETTINGS) as cluster:
        yield cluster


def limit(server: Postgresql, cluster: Cluster, pair: Pair, quota: QuotaLimit) -> None:
    """Give a quota to a key that no box has seen yet."""
    engine = create_engine(server.url(cluster.database))
    try:
        with engine.begin() as connection:
            records = SqlLimitRecords(connection)
            stored = store_limits(records, pair.api_key, "", (quota,), utc_now())
            of_key = update(credential).where(credential.c.api_key == pair.api_key)
            connection.execute(of_key.values(limits=stored_limits_text(stored)))
    finally:
        engine.dispose()


def test_a_quota_is_exact_over_boxes_and_kills(
    server: Postgresql, cluster: Cluster, long: bool
) -> None:
    """Workers are killed, and all processes of a box. Only requests in flight are lost."""
    rng = random.Random(29)
    kills = 300 if long else 6
    quota = 150 * kills
    pair = cluster.boxes[0].issue()
    limit(server, cluster, pair, quota_limit("calls", quota, "total"))
    with ExitStack() as stack:
        senders = [stack.enter_context(sending(box, pair, 4)) for box in cluster.boxes]
        for number in range(1, kills + 1):
            place = rng.randrange(BOXES)
            senders[place].await_more(30)
            box = cluster.boxes[place]
            wait_until(lambda: len(children(master(box))) == 2, "its workers")  # noqa: B023
            if number % 6 == 0:
                kill_all(box)
                box.start()
            else:
                os.kill(rng.choice(workers(box)), signal.SIGKILL)
        for one in senders:
            one.await_refusals()
    admitted = sum(one.statuses[200] for one in senders)
    assert admitted <= quota <= admitted + sum(one.broken for one in senders)
    assert set().union(*(one.statuses for one in senders)) == {200, 429}
