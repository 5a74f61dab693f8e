"""RateTable in many processes: never too many units in any interval, and no unit is lost."""

from __future__ import annotations

import random
import signal
import time

import pytest

from fastcache.shared import Rate
from tests.support.fastcache.takers import Admission, Takers, assert_exact


def test_the_bound_of_a_history_is_checked() -> None:
    rate = Rate(0, 10, 2)
    assert_exact([Admission(0, 2), Admission(10, 1), Admission(20, 1)], rate)
    with pytest.raises(AssertionError):
        assert_exact([Admission(0, 2), Admission(10, 1), Admission(19, 1)], rate)
    with pytest.raises(AssertionError):
        assert_exact([Admission(0, 1), Admission(1000, 1), Admission(1000, 2)], rate)


@pytest.mark.attack
@pytest.mark.long
def test_processes_that_are_killed_and_stopped_never_admit_too_much(long: bool) -> None:
    """They are stopped at any time, and most often between a clock reading and the exchange."""
    chance = random.Random(9)
    rates = [Rate(0, 1_000_000, 100), Rate(1, 100_000, 5), Rate(2, 5_000_000, 50)]
    combinations = [(0,), (1,), (2,), (0, 1), (1, 0), (1, 2, 0), (2, 0, 1)]
    with Takers(rates, combinations, (1, 1, 1, 2, 5), stops=0.01) as takers:
        for number in range(takers.processes):
            takers.start(number)
        end = time.monotonic() + (60 if long else 2)
        while time.monotonic() < end:
            time.sleep(0.005)
            number = chance.randrange(takers.processes)
            event = chance.random()
            if event < 0.7:
                takers.send(number, signal.SIGCONT)
            elif event < 0.9:
                takers.send(number, signal.SIGSTOP)
            else:
                takers.kill(number)
                takers.start(number)
        takers.close()
        for rate, admitted in zip(rates, takers.admitted(), strict=True):
            assert admitted
            assert_exact(admitted, rate)


@pytest.mark.attack
@pytest.mark.long
def test_processes_together_lose_nothing_of_a_rate(long: bool) -> None:
    """At each refusal, exactly the bound was admitted since the first admission."""
    # The bucket is almost empty at the start, and not full again if the machine stands still.
    rate = Rate(0, 50_000, 1_200_000)
    with Takers([rate], [(0,)], (1,), room=400_000) as takers:
        first = takers.table().take((rate,), 1_199_900)
        until = time.monotonic() + (30 if long else 0.5)
        for number in range(takers.processes):
            takers.start(number, until)
        takers.wait()
        admitted = [Admission(first.at, 1_199_900), *takers.admitted()[0]]
        assert_exact(admitted, rate)
        for refused_at in takers.refusals():
            units = sum(admission.units for admission in admitted if admission.at <= refused_at)
            assert units == rate.burst + (refused_at - first.at) // rate.interval


@pytest.mark.attack
@pytest.mark.long
def test_processes_together_lose_almost_nothing_of_two_rates(long: bool) -> None:
    """A unit is lost only if others took from the same rate, so that it cannot be given back."""
    short, over = Rate(0, 40_000, 1_500_000), Rate(1, 50_000, 1_200_000)
    with Takers([short, over], [(0, 1), (1, 0)], (1,), room=400_000) as takers:
        first = takers.table().take((short, over), 1_199_900)
        takers.table().take((short,), 300_000)
        until = time.monotonic() + (30 if long else 0.5)
        for number in range(takers.processes):
            takers.start(number, until)
        takers.wait()
        history = takers.admitted()
        units = 1_199_900 + takers.count()
        bound = over.burst + (max(takers.refusals()) - first.at) // over.interval
        assert 0.999 * (bound - 1_199_900) <= units - 1_199_900 <= bound - 1_199_900
        for rate, admitted in zip((short, over), history, strict=True):
            assert_exact(admitted, rate)
