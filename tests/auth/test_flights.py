"""Single flight: one load for many callers; no caller hangs or gets a stale result."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from fastcache.shared import Stripes
from latchkey.check.flights import FlightAborted, SingleFlight
from latchkey.credentials.derivation import DerivationKey
from latchkey.errors import StoreError
from tests.support.auth.worker import (
    Gate,
    NewWorker,
    Outcome,
    Running,
    Worker,
    api_key,
    await_waiting,
    derive,
    presented,
)

KEY = "live_0000000000000000000000"


class Airport:
    """Flights with real stripes. Each load stops at its own gate, in the order of loads."""

    def __init__(self) -> None:
        self.flights: SingleFlight[str, int, str] = SingleFlight()
        self.stripes = Stripes()
        self.loads: list[tuple[str, int]] = []
        self.gates = [Gate() for _ in range(4)]
        self._lock = threading.Lock()

    def load(self, key: str, ticket: int) -> str:
        with self._lock:
            number = len(self.loads)
            self.loads.append((key, ticket))
        self.gates[number]()
        return f"result {number} under ticket {ticket}"

    def fly(self, load: Callable[[str, int], str] | None = None) -> str:
        return self.flights.fly(KEY, self.stripes.generation, load or self.load)

    def lead(self) -> Running:
        """Start a thread, and return when it leads a flight and is in its load."""
        number = len(self.loads)
        thread = Running(self.fly)
        self.gates[number].await_arrival()
        return thread

    def join(self, count: int) -> list[Running]:
        """Start threads, and return when all of them wait for a flight."""
        threads = [Running(self.fly) for _ in range(count)]
        await_waiting(threads, "fly")
        return threads


def values(threads: list[Running]) -> list[Any]:
    return [thread.value() for thread in threads]


def test_many_callers_make_one_load() -> None:
    airport = Airport()
    leader = airport.lead()
    waiters = airport.join(49)
    airport.gates[0].open()
    assert leader.value() == "result 0 under ticket 0"
    assert values(waiters) == ["result 0 under ticket 0"] * 49
    assert airport.loads == [(KEY, 0)]


def test_a_landed_flight_is_removed() -> None:
    airport = Airport()
    for gate in airport.gates:
        gate.open()
    assert airport.fly() == "result 0 under ticket 0"
    assert airport.fly() == "result 1 under ticket 0"
    assert airport.flights._flights == {}


def test_flights_of_different_keys_are_independent() -> None:
    airport = Airport()
    leader = airport.lead()
    other = airport.flights.fly("other", airport.stripes.generation, lambda key, ticket: key)
    assert other == "other"
    airport.gates[0].open()
    leader.value()


def test_none_is_shared_as_a_result() -> None:
    flights: SingleFlight[str, int, None] = SingleFlight()
    gate = Gate()
    loads: list[str] = []

    def load(key: str, ticket: int) -> None:
        loads.append(key)
        gate()

    def fly() -> None:
        flights.fly(KEY, lambda key: 0, load)

    leader = Running(fly)
    gate.await_arrival()
    waiter = Running(fly)
    await_waiting([waiter], "fly")
    gate.open()
    assert values([leader, waiter]) == [None, None]
    assert loads == [KEY]


def _land_with(error: BaseException, waiters: int = 8) -> tuple[Outcome, list[Outcome], Airport]:
    airport = Airport()

    def load(key: str, ticket: int) -> str:
        airport.load(key, ticket)
        raise error

    leader = Running(lambda: airport.fly(load))
    airport.gates[0].await_arrival()
    threads = airport.join(waiters)
    airport.gates[0].open()
    return leader.outcome(), [thread.outcome() for thread in threads], airport


def test_a_loader_that_raises_releases_its_waiters_with_the_error() -> None:
    error = StoreError("disk full")
    leader, waiters, airport = _land_with(error)
    assert leader.error is error
    for waiter in waiters:
        assert type(waiter.error) is StoreError
        assert waiter.error.detail == "disk full"
        assert waiter.error.message == error.message
    # The next caller starts another flight.
    airport.gates[1].open()
    assert airport.fly() == "result 1 under ticket 0"


def test_each_waiter_has_its_own_traceback() -> None:
    """One exception raised in many threads would collect the frames of all of them."""
    leader, waiters, _ = _land_with(StoreError("disk full"))
    errors = [leader.error, *(waiter.error for waiter in waiters)]
    assert len({id(error) for error in errors}) == 9
    for waiter in waiters:
        assert waiter.error is not None
        frames = [frame.name for frame in traceback.extract_tb(waiter.error.__traceback__)]
        assert frames.count("run") == 1
        assert frames.count("fly") == 2
        assert "load" not in frames


@pytest.mark.parametrize("torn_by", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_an_aborted_loader_releases_its_waiters(torn_by: type[BaseException]) -> None:
    leader, waiters, airport = _land_with(torn_by())
    assert type(leader.error) is torn_by
    # Not with the leader's own exception: a SystemExit would end other threads.
    assert [type(waiter.error) for waiter in waiters] == [FlightAborted] * 8
    airport.gates[1].open()
    assert airport.fly() == "result 1 under ticket 0"


# ---- Stale after an invalidation


def test_requests_after_an_invalidation_start_another_flight() -> None:
    airport = Airport()
    old_leader, old_waiters = airport.lead(), airport.join(3)
    airport.stripes.invalidate(KEY)
    new_leader, new_waiters = airport.lead(), airport.join(3)
    assert airport.loads == [(KEY, 0), (KEY, 1)]
    # The newer flight lands first, and its callers do not wait for the older one.
    airport.gates[1].open()
    assert values([new_leader, *new_waiters]) == ["result 1 under ticket 1"] * 4
    assert old_leader.is_alive()
    airport.gates[0].open()
    assert values([old_leader, *old_waiters]) == ["result 0 under ticket 0"] * 4


def test_a_stale_flight_that_lands_does_not_remove_the_newer_one() -> None:
    airport = Airport()
    old_leader, old_waiters = airport.lead(), airport.join(3)
    airport.stripes.invalidate(KEY)
    new_leader = airport.lead()
    airport.gates[0].open()
    assert values([old_leader, *old_waiters]) == ["result 0 under ticket 0"] * 4
    # Callers now join the newer flight and do not start a third one.
    late = airport.join(3)
    airport.gates[1].open()
    assert values([new_leader, *late]) == ["result 1 under ticket 1"] * 4
    assert len(airport.loads) == 2


def test_a_stale_flight_that_fails_does_not_remove_the_newer_one() -> None:
    airport = Airport()

    def fail(key: str, ticket: int) -> str:
        airport.load(key, ticket)
        raise StoreError("disk full")

    old_leader = Running(lambda: airport.fly(fail))
    airport.gates[0].await_arrival()
    old_waiters = airport.join(2)
    airport.stripes.invalidate(KEY)
    new_leader = airport.lead()
    airport.gates[0].open()
    for thread in (old_leader, *old_waiters):
        assert type(thread.outcome().error) is StoreError
    late = airport.join(2)
    airport.gates[1].open()
    assert values([new_leader, *late]) == ["result 1 under ticket 1"] * 3


def test_each_invalidation_starts_another_flight() -> None:
    airport = Airport()
    leaders = []
    for _ in range(4):
        leaders.append(airport.lead())
        airport.stripes.invalidate(KEY)
    for gate in reversed(airport.gates):
        gate.open()
    assert values(leaders) == [f"result {n} under ticket {n}" for n in range(4)]
    assert airport.flights._flights == {}


def test_a_ticket_from_before_the_invalidation_starts_its_own_flight() -> None:
    """Stopped between its ticket and its flight, it finds a newer flight and does not join it."""
    airport = Airport()
    stopped = Gate()

    def slow_ticket(key: str) -> int:
        ticket = airport.stripes.generation(key)
        stopped()
        return ticket

    late = Running(lambda: airport.flights.fly(KEY, slow_ticket, airport.load))
    stopped.await_arrival()
    airport.stripes.invalidate(KEY)
    new_leader = airport.lead()
    stopped.open()
    airport.gates[1].await_arrival()
    for gate in airport.gates:
        gate.open()
    assert new_leader.value() == "result 0 under ticket 1"
    assert late.value() == "result 1 under ticket 0"


# ---- The authenticator's flights, with the real store


def test_many_threads_on_one_cold_key_make_one_select(worker: Worker) -> None:
    secret = worker.issue()
    gate = worker.reads.before = Gate()
    leader = Running(lambda: worker.authenticate(secret))
    gate.await_arrival()
    waiters = [Running(lambda: worker.authenticate(secret)) for _ in range(49)]
    await_waiting(waiters, "fly")
    gate.open()
    principals = values([leader, *waiters])
    assert set(principals) == {worker.service.get(principals[0].api_key, None).principal()}
    assert worker.reads.count == 1


def test_secrets_of_one_key_have_separate_flights_and_results(new_worker: NewWorker) -> None:
    """Two listed keys derive two secrets for one api_key; one of them is registered."""
    first, second = (DerivationKey(bytes([number]) * 32) for number in (1, 2))
    worker = new_worker(current=[first, second])
    right = derive(first)
    wrong = derive(second, right)
    worker.register(right)
    for order in ((right, wrong), (wrong, right)):
        worker.authenticator.invalidate(right[3:30])
        worker.reads.keys.clear()
        gate = worker.reads.before = Gate()
        leader = Running(lambda secret=order[0]: worker.outcome(secret))  # type: ignore[misc]
        gate.await_arrival()
        other = Running(lambda secret=order[1]: worker.outcome(secret))  # type: ignore[misc]
        gate.open()
        outcomes = dict(zip(order, (leader.value(), other.value()), strict=True))
        assert outcomes == {right: "ok", wrong: "InvalidCredential"}
        assert worker.reads.count == 2


def miss_and_wait(worker: Worker, secret: str) -> tuple[Running, Gate]:
    """A check in a thread that has missed the cache and is stopped before its flight."""
    flights = worker.authenticator._flights
    fly = flights.fly
    late = Running(partial(worker.outcome, secret), start=False)
    gate = Gate().only(late)

    def slow_fly(*arguments: Any) -> Any:
        gate()
        return fly(*arguments)

    flights.fly = slow_fly  # type: ignore[assignment, method-assign]
    late.start()
    gate.await_arrival()
    return late, gate


def test_a_miss_before_a_flight_landed_does_not_read_again(worker: Worker) -> None:
    """It is stopped between its miss and its flight, while another thread fills the cache."""
    unknown = derive(worker.keys.newest)
    for secret, outcome in ((worker.issue(), "ok"), (unknown, "InvalidCredential")):
        late, gate = miss_and_wait(worker, secret)
        assert worker.outcome(secret) == outcome
        gate.open()
        assert late.value() == outcome
        assert worker.reads.keys.count(api_key(secret)) == (1 if worker.cached else 2)


def test_a_late_flight_reads_a_stale_entry_again(worker: Worker) -> None:
    """A cached entry is used only if its ticket, time and secret fit the flight."""
    first_known, first_unknown = worker.issue(), derive(worker.keys.newest)

    def invalidate(secret: str) -> None:
        worker.authenticator.invalidate(presented(secret).lookup)

    def wait(secret: str) -> None:
        worker.timer.now += 1000

    for secret, outcome in ((first_known, "ok"), (first_unknown, "InvalidCredential")):
        for spoil in (invalidate, wait):
            invalidate(secret)
            late, gate = miss_and_wait(worker, secret)
            assert worker.outcome(secret) == outcome
            spoil(secret)
            before = worker.reads.count
            gate.open()
            assert late.value() == outcome
            assert worker.reads.count == before + 1


def test_waiters_get_the_error_of_a_failing_database(worker: Worker) -> None:
    secret = worker.issue()
    away = worker.path.with_name("away.db")
    worker.path.rename(away)
    gate = worker.reads.before = Gate()
    leader = Running(lambda: worker.authenticate(secret))
    gate.await_arrival()
    waiters = [Running(lambda: worker.authenticate(secret)) for _ in range(5)]
    await_waiting(waiters, "fly")
    gate.open()
    errors = [thread.outcome().error for thread in (leader, *waiters)]
    assert [type(error) for error in errors] == [StoreError] * 6
    assert len({id(error) for error in errors}) == 6
    away.rename(worker.path)
    assert worker.outcome(secret) == "ok"
