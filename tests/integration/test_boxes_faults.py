"""Several boxes on one PostgreSQL: no change is effective too late, whatever fails meanwhile.

Every test has the same claims. No request that began after the answer of a change is decided by the
state before it. No valid key gets 401. After the fault, everything works again by itself.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.boxes.asking import NO_ANSWER, NOT_SENT
from tests.support.boxes.box import Box
from tests.support.boxes.cluster import Cluster, Trial, running
from tests.support.boxes.histories import GOOD
from tests.support.boxes.places import can_separate
from tests.support.boxes.pooler import pooling, program
from tests.support.boxes.statements import Peer, Statements
from tests.support.boxes.tcp_proxy import BOTH, Direction
from tests.support.boxes.traffic import traffic_to
from tests.support.faults.service_processes import children, kill_all, master, wait_until, workers
from tests.support.postgresql import Postgresql, started

pytestmark = [pytest.mark.integration, pytest.mark.attack]

LEASE = 2.0
"""Seconds; shorter than the default, so that a lease runs out within a test."""
SETTINGS = {"LATCHKEY_LEASE": f"{LEASE:g}", "LATCHKEY_WORKERS": "2"}
BOXES = 3


@pytest.fixture(scope="module")
def server() -> Iterator[Postgresql]:
    with started() as server:
        yield server


@pytest.fixture(scope="module")
def cluster(server: Postgresql, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three boxes of two workers; a test must leave them running and healthy."""
    url = server.url(server.new_database())
    upstream = ("127.0.0.1", server.port)
    directory = tmp_path_factory.mktemp("boxes")
    with running(directory, url, upstream, BOXES, **SETTINGS) as cluster:
        yield cluster


@pytest.fixture
def rng() -> random.Random:
    return random.Random(1)


def rounds(long: bool, per_round: int) -> list[int]:
    """How often a fault is repeated: once, or until there were 500 changes.

    Each item is a factor for the number of changes in that round, ``per_round`` at least.
    """
    return [8] * -(-500 // (8 * per_round)) if long else [1]


def test_changes_at_any_box_are_effective_at_every_box(cluster: Cluster, long: bool) -> None:
    with cluster.changed("none") as trial:
        trial.change(10_000 if long else 20)
        trial.await_recovery()


# ---- stopped processes


def stop_a_worker(box: Box, rng: random.Random) -> list[int]:
    return [rng.choice(workers(box))]


def stop_all_workers(box: Box, rng: random.Random) -> list[int]:
    return workers(box)


def stop_the_box(box: Box, rng: random.Random) -> list[int]:
    return box.pids()


@pytest.mark.parametrize("leases", [0.3, 1.5], ids=["briefly", "past its lease"])
@pytest.mark.parametrize("chosen", [stop_a_worker, stop_all_workers, stop_the_box])
def test_stopped_processes_decide_by_nothing_old(
    cluster: Cluster,
    rng: random.Random,
    long: bool,
    chosen: Callable[[Box, random.Random], list[int]],
    leases: float,
) -> None:
    fault = f"{chosen.__name__}, for {leases:g} leases"
    with cluster.changed(fault) as trial:
        for size in rounds(long, 5):
            box = rng.choice(cluster.boxes)
            trial.change(2 * size)
            with only_others(trial, box), box.paused(chosen(box, rng)):
                stopped = time.monotonic()
                trial.change(size)
                time.sleep(max(0.0, stopped + leases * LEASE - time.monotonic()))
            trial.await_recovery()
            trial.change(2 * size)


@pytest.mark.parametrize(
    ("what", "statement"),
    [
        ("its poll", r"(?is)select.*from\s+invalidation"),
        ("its confirmation", r"(?is)update\s+box"),
    ],
    ids=["its poll", "its confirmation"],
)
def test_a_poller_that_is_stopped_on_the_way_renews_no_lease_too_late(
    cluster: Cluster, rng: random.Random, long: bool, what: str, statement: str
) -> None:
    """It is stopped when its statement has been sent, and continues with the old answer."""
    with cluster.changed(f"the poller is stopped at {what}") as trial:
        for size in rounds(long, 6):
            box = rng.choice(cluster.boxes)
            trial.change(2 * size)
            with only_others(trial, box), stopped_at(box, statement):
                stopped = time.monotonic()
                trial.change(2 * size)
                time.sleep(max(0.0, stopped + 1.3 * LEASE - time.monotonic()))
            trial.await_recovery()
            trial.change(2 * size)


@pytest.mark.parametrize(
    ("what", "statement"),
    [
        ("a change", r"(?is)insert\s+into\s+audit"),
        ("a flush", r"(?is)insert\s+into\s+usage_watermark"),
    ],
    ids=["a change", "a flush"],
)
def test_a_worker_that_is_stopped_within_a_transaction_blocks_no_others(
    cluster: Cluster, rng: random.Random, long: bool, what: str, statement: str
) -> None:
    """It keeps its turn until the server or another worker ends its transaction.

    A flush sends its rows in a pipeline.
    """
    with cluster.changed(f"a worker is stopped within {what}") as trial:
        for size in rounds(long, 6):
            box = rng.choice(cluster.boxes)
            trial.change(2 * size)
            with stopped_at(box, statement), only_others(trial, box):
                trial.change(2 * size)
            trial.await_recovery()
            trial.change(2 * size)


@contextmanager
def stopped_at(box: Box, statement: str) -> Iterator[None]:
    """Stop the worker that sends a statement, as soon as it is on the way, during the block."""
    stopped: list[int] = []

    def stop(peer: Peer) -> None:
        pid = box.worker_at_database(peer)
        if pid is not None:
            box.pause([pid])
            stopped.append(pid)

    statements = Statements(stop)
    box.proxy.see = statements.see
    # The texts of prepared statements are sent once for each connection.
    box.proxy.reset()
    try:
        while not stopped:
            statements.arm(statement)
            wait_until(lambda: not statements.is_armed, f"the statement {statement}")
        yield
    finally:
        box.proxy.see = None
        box.resume()


@contextmanager
def only_others(trial: Trial, box: Box) -> Iterator[None]:
    """Ask only the other boxes for changes during the block: this one may not answer."""
    trial.office.asked = [other for other in trial.office.boxes if other is not box]
    try:
        yield
    finally:
        trial.office.asked = list(trial.office.boxes)


# ---- connections


def test_killed_connections(cluster: Cluster, server: Postgresql, long: bool) -> None:
    with cluster.changed("the connections of all boxes are killed") as trial:
        for size in rounds(long, 5):
            trial.change(3 * size)
            assert server.end_connections(cluster.database) > 0
            trial.await_recovery()
            trial.change(2 * size)


def lose(box: Box) -> None:
    box.proxy.lose(BOTH)


def lose_answers(box: Box) -> None:
    box.proxy.lose(frozenset({Direction.TO_BOX}))


def hold(box: Box) -> None:
    box.proxy.hold(BOTH)


def hold_answers(box: Box) -> None:
    box.proxy.hold(frozenset({Direction.TO_BOX}))


def half_close(box: Box) -> None:
    box.proxy.half_close()


def refuse(box: Box) -> None:
    box.proxy.refuse()


def lose_packets(box: Box) -> None:
    box.place.lose_packets(True)


@pytest.mark.parametrize(
    "fault",
    [
        *(lose, lose_answers, hold, hold_answers, half_close, refuse),
        # Only in a network of its own.
        *([lose_packets] if can_separate() else []),
    ],
)
def test_a_box_that_is_cut_off_stops_using_its_cache(
    cluster: Cluster, rng: random.Random, long: bool, fault: Callable[[Box], None]
) -> None:
    with cluster.changed(f"one box: {fault.__name__}") as trial:
        for size in rounds(long, 6):
            box = rng.choice(cluster.boxes)
            trial.change(2 * size)
            with only_others(trial, box):
                fault(box)
                try:
                    cut = time.monotonic()
                    trial.change(2 * size)
                    time.sleep(max(0.0, cut + 1.2 * LEASE - time.monotonic()))
                finally:
                    if fault is lose_packets:
                        box.place.lose_packets(False)
                    box.proxy.heal()
                trial.await_recovery()
                trial.change(2 * size)


@pytest.mark.parametrize("seconds", [0.02, 0.6])
def test_a_slow_connection_delays_changes_only(
    cluster: Cluster, rng: random.Random, long: bool, seconds: float
) -> None:
    with cluster.changed(f"one box: every chunk {seconds:g} s later") as trial:
        for size in rounds(long, 5):
            box = rng.choice(cluster.boxes)
            box.proxy.delay(seconds)
            try:
                trial.change(5 * size)
            finally:
                box.proxy.heal()
            trial.await_recovery()


# ---- the server


def test_a_restart_of_postgresql(cluster: Cluster, server: Postgresql, long: bool) -> None:
    with cluster.changed("PostgreSQL is restarted") as trial:
        for size in rounds(long, 6):
            trial.change(3 * size)
            server.restart()
            trial.await_recovery()
            trial.change(3 * size)


def test_boxes_that_are_restarted_one_after_the_other(
    cluster: Cluster, rng: random.Random, long: bool
) -> None:
    """As in an upgrade. A box that has stopped said so, and no change waits for it."""
    with cluster.changed("boxes are restarted one after the other") as trial:
        for size in rounds(long, 9):
            for box in cluster.boxes if long else [rng.choice(cluster.boxes)]:
                trial.change(size)
                box.stop()
                trial.change(size)
                box.start()
                trial.change(size)
            trial.await_recovery()
    assert set(trial.traffic.histories.undecided()) <= {NO_ANSWER, NOT_SENT}
    assert set(trial.office.refused) <= {NO_ANSWER, NOT_SENT}


def test_a_pooler_in_transaction_mode(
    server: Postgresql, tmp_path_factory: pytest.TempPathFactory, long: bool
) -> None:
    """Without notifications, boxes learn of changes by their polls."""
    if program() is None:
        pytest.skip("pgbouncer is not installed")
    directory = tmp_path_factory.mktemp("pooled")
    with pooling(server) as address:
        url = server.url(server.new_database())
        with running(directory, url, address, 2, **SETTINGS) as pooled:
            with pooled.changed("pgbouncer") as trial:
                trial.change(500 if long else 10)
                trial.await_recovery()


def test_a_synchronous_standby_is_promoted(
    tmp_path_factory: pytest.TempPathFactory, long: bool
) -> None:
    """Nothing that was answered is undone, and no box decides by the old primary."""
    directory = tmp_path_factory.mktemp("failover")
    with started() as primary, primary.standby() as standby:
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        primary.reload()
        url = primary.url(primary.new_database())
        upstream = ("127.0.0.1", primary.port)
        with running(directory, url, upstream, BOXES, **SETTINGS) as cluster:
            with cluster.changed("a synchronous standby is promoted") as trial:
                trial.change(250 if long else 3)
                primary.stop()
                standby.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
                standby.promote()
                for box in cluster.boxes:
                    box.proxy.upstream = ("127.0.0.1", standby.port)
                    box.proxy.reset()
                trial.await_recovery()
                trial.change(250 if long else 3)


# ---- use counts


def test_use_counts_are_exact_over_kills(cluster: Cluster, rng: random.Random, long: bool) -> None:
    """Workers are killed, and sometimes all processes of a box, under load for one key."""
    pair = cluster.boxes[0].issue()
    with traffic_to(cluster.boxes, pair) as traffic:
        for number in range(1, (300 if long else 20) + 1):
            before = traffic.histories.count()
            wait_until(lambda: traffic.histories.count() > before + 15, "answers")  # noqa: B023
            box = rng.choice(cluster.boxes)
            wait_until(lambda: len(children(master(box))) == 2, "its workers")  # noqa: B023
            if number % 10 == 0:
                kill_all(box)
                box.start()
            else:
                os.kill(rng.choice(workers(box)), signal.SIGKILL)
        traffic.await_answers(pair, GOOD, healthy=True)
    statuses = Counter(status for _, _, status in traffic.histories.of(pair.api_key).answers)
    assert set(statuses) <= {GOOD, NO_ANSWER, NOT_SENT}
    certain, possible = statuses[GOOD], statuses[NO_ANSWER]
    # A box writes the counts of its last seconds after a while.
    for box in cluster.boxes:
        wait_until(lambda: box.usage(pair)["requests"] >= certain, "all counts")  # noqa: B023
    assert certain <= cluster.boxes[0].usage(pair)["requests"] <= certain + possible
