"""Two boxes with one store in memory: their threads, and changes at one that the other obeys."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial

import pytest

from latchkey.box.shared import Word
from latchkey.check.headers import read_plain
from latchkey.config import load_settings
from latchkey.credentials.audit import AuditKey
from latchkey.credentials.derivation import DerivationKey, DerivationKeys
from latchkey.credentials.limits import quota_limit, rate_limit
from latchkey.credentials.tokens import new_api_key
from latchkey.errors import InvalidCredential, LimitReached, RevokedCredential
from latchkey.parts import Parts
from latchkey.store.audit_head import Seal
from latchkey.store.memory.head import MemoryHead
from latchkey.store.memory.state import MemoryDatabase
from latchkey.store.memory.store import open_memory_store
from tests.support.audited import TESTER
from tests.support.faults.service_processes import wait_until

KEYS = DerivationKeys([DerivationKey(b"1" * 32)], [])


@pytest.fixture
def more_settings() -> dict[str, str]:
    """Settings that a test adds."""
    return {}


@pytest.fixture
def boxes(more_settings: dict[str, str]) -> Iterator[list[Parts]]:
    """Two running boxes, each with one worker."""
    database = MemoryDatabase()
    key = AuditKey(b"2" * 32)
    seal = Seal(key, MemoryHead(key))
    made = []
    for name in ("east", "west"):
        settings = load_settings(
            {"LATCHKEY_BOX_NAME": name, "LATCHKEY_LEASE": "15", **more_settings}
        )
        store = open_memory_store(database, seal, several_boxes=True)
        made.append(Parts.from_settings(settings, KEYS, store=store))
    for parts in made:
        parts.upkeep.start()
    yield made
    for parts in made:
        parts.upkeep.stop()


def test_a_starting_box_has_a_lease(boxes: list[Parts]) -> None:
    store = boxes[0].store.boxes
    assert store is not None
    assert [box.name for box in store.live()] == ["east", "west"]
    for parts in boxes:
        assert parts.shared.words.value(Word.BOX)
        assert parts.shared.has_lease()


def test_a_change_is_effective_in_the_other_box_before_it_is_answered(
    boxes: list[Parts], caplog: pytest.LogCaptureFixture
) -> None:
    east, west = boxes
    for _ in range(3):
        issued = east.credentials.issue(
            name="test", caller=None, scopes=frozenset({"*"}), by=TESTER
        )
        presented = read_plain(issued.secret)
        for parts in (west, east):
            parts.authenticator.authenticate(presented)
            assert parts.shared.has_lease()
        east, west = west, east
        west.credentials.revoke(issued.credential.api_key, None, by=TESTER)
        for parts in (east, west):
            with pytest.raises(RevokedCredential):
                parts.authenticator.authenticate(presented)
    assert [line for line in caplog.records if line.levelno >= logging.WARNING] == [
        line for line in caplog.records if "connection pooler" in line.getMessage()
    ]


def test_a_registered_key_is_known_in_the_other_box(boxes: list[Parts]) -> None:
    east, west = boxes
    api_key = new_api_key("live")
    secret = KEYS.newest.derive(api_key)
    with pytest.raises(InvalidCredential):
        west.authenticator.authenticate(read_plain(secret))
    east.credentials.register(api_key, secret, None, by=TESTER)
    west.authenticator.authenticate(read_plain(secret))


def admitted(parts: Parts, secret: str, most: int) -> int:
    """How many of ``most`` requests a box admits."""
    for number in range(most):
        try:
            parts.authenticator.authenticate(read_plain(secret), take=1)
        except LimitReached:
            return number
    return most


def test_a_quota_is_exact_over_both_boxes(boxes: list[Parts]) -> None:
    east, west = boxes
    limits = [quota_limit("all", 20, "total")]
    issued = east.credentials.issue(
        name="test", caller=None, scopes=frozenset({"*"}), by=TESTER, limits=limits
    )
    assert admitted(west, issued.secret, 7) == 7
    assert admitted(east, issued.secret, 30) + admitted(west, issued.secret, 30) == 13


def test_each_box_has_a_whole_rate(boxes: list[Parts]) -> None:
    issued = boxes[0].credentials.issue(
        name="test",
        caller=None,
        scopes=frozenset({"*"}),
        by=TESTER,
        limits=[rate_limit("9/day")],
    )
    assert [admitted(parts, issued.secret, 30) for parts in boxes] == [9, 9]


@pytest.mark.parametrize("more_settings", [{"LATCHKEY_RATE_SHARE": "divide"}])
def test_rates_can_be_divided(boxes: list[Parts]) -> None:
    for parts in boxes:
        number = partial(parts.shared.words.value, Word.BOXES)
        wait_until(lambda: number() == 2, "the number of boxes")  # noqa: B023
    issued = boxes[0].credentials.issue(
        name="test",
        caller=None,
        scopes=frozenset({"*"}),
        by=TESTER,
        limits=[rate_limit("9/day")],
    )
    assert [admitted(parts, issued.secret, 30) for parts in boxes] == [4, 4]
