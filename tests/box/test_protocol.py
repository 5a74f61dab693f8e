"""The protocol of several boxes: no box serves a value older than the last answered change.

A state machine tries any order of steps. A table takes out one step of the protocol after the
other: the same steps of the boxes, which are harmless with it, then lead to a stale value.
"""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.box.machine import Machine, bounds
from tests.support.box.omissions import OMISSIONS
from tests.support.box.world import Stale, World


def test_no_box_serves_an_older_value_than_the_last_answered_change(long: bool) -> None:
    run_state_machine_as_test(Machine, settings=bounds(20_000 if long else 100, 60))


@pytest.mark.parametrize("name", OMISSIONS)
def test_each_step_is_needed(name: str) -> None:
    omission = OMISSIONS[name]
    complete = World()
    omission.scenario(complete)
    assert complete.served
    with pytest.raises(Stale):
        omission.scenario(World(omission.protocol))


# Those that random steps lead to, soon or later. The table has the shortest way to each.
FOUND_SOON = ("compare the lease at each hit", "wait for the boxes")
FOUND_LATER = (
    "apply before confirming",
    "compare the last row",
    "confirm before renewing",
    "forget everything when registering",
    "renew only if the box is live",
    "wait for the longest lease",
)


@pytest.mark.long
def test_the_state_machine_finds_omissions(long: bool) -> None:
    search = settings(
        bounds(20_000 if long else 1_000, 80), derandomize=True, phases=[Phase.generate]
    )
    for name in (*FOUND_SOON, *FOUND_LATER) if long else FOUND_SOON:
        incomplete = type("Incomplete", (Machine,), {"protocol": OMISSIONS[name].protocol})
        with pytest.raises(Stale):
            run_state_machine_as_test(incomplete, settings=search)
