"""Where credentials are used from: noted by every worker, once a second, and written down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from latchkey import wsgi
from latchkey.addresses import ClientAddresses
from latchkey.box.counted import Use
from latchkey.box.shared import SharedState
from latchkey.box.sightings import UNKNOWN_ADDRESS, Sightings
from latchkey.box.use_counts import LiveTallies
from latchkey.credentials.models import SIGHTINGS_KEPT, Credential, Principal, Usage
from latchkey.credentials.usage import UsageReader
from tests.auth.worker import Worker, api_key

PRINCIPAL = "latchkey.principal"
# In milliseconds: what the check takes for a second, and how far its clock may be behind.
SECOND = 1024
LAG = 100


class Box:
    """A worker in real time with one credential, and what it is used from."""

    def __init__(self, directory: Path, proxies: int = 0) -> None:
        self.worker = Worker(directory / "latchkey.db", real_time=True)
        self.shared = self.worker.authenticator.shared
        self.sightings = Sightings(self.shared, ClientAddresses(proxies))
        self.middleware: Any = wsgi.middleware(
            lambda environ, start_response: [], self.worker.authenticator, sightings=self.sightings
        )
        self.secret = self.worker.issue()
        self.tallies = LiveTallies(self.shared)
        self.reader = UsageReader(self.worker.store.usage, self.tallies)

    @property
    def credential(self) -> Credential:
        found = self.worker.store.find(api_key(self.secret))
        assert found is not None
        return found

    @property
    def usage(self) -> Usage:
        return self.reader.usage(self.credential)

    @property
    def addresses(self) -> list[str]:
        return [sighting.address for sighting in self.usage.sightings]

    def use(self, address: object, forwarded: object = None, *, compiled: bool = True) -> None:
        """One request, compiled or through Python; the first is a miss."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/v1/account",
            "HTTP_AUTHORIZATION": f"Bearer {self.secret}",
            "REMOTE_ADDR": address,
        }
        if address is None:
            del environ["REMOTE_ADDR"]
        if forwarded is not None:
            environ["HTTP_X_FORWARDED_FOR"] = forwarded
        if compiled:
            self.middleware(environ, lambda *_: None)
        else:
            self.middleware.application.policy.examine(environ, lambda *_: None)
        assert isinstance(environ[PRINCIPAL], Principal)

    def age(self) -> None:
        """Have the last use be longer ago than a second."""
        self.shared.uses.put(self.credential.id, Use.LAST_USED, round(time.time() * 1000) - 5_000)

    def flush(self) -> None:
        tallies = self.tallies.unwritten()
        self.worker.store.usage.flush(self.tallies.segment, tallies, datetime.now(UTC))
        self.tallies.written(tallies)


def milliseconds() -> int:
    """Since 1970, as the time of a use is counted."""
    return time.time_ns() // 1_000_000


def await_a_second() -> int:
    """Wait for a second that every clock has come to and that has time left; its number."""
    while not LAG < milliseconds() % SECOND < SECOND - 300:
        time.sleep(0.05)
    return milliseconds() // SECOND


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.worker.store.close()


@pytest.mark.parametrize("compiled", [True, False])
def test_the_last_addresses_newest_first(box: Box, compiled: bool) -> None:
    addresses = [f"192.0.2.{number}" for number in range(1, SIGHTINGS_KEPT + 3)]
    for address in addresses:
        box.use(address, compiled=compiled)
        box.age()
    assert box.addresses == addresses[::-1][:SIGHTINGS_KEPT]
    box.use(addresses[3], compiled=compiled)
    assert box.addresses[0] == addresses[3]
    assert len(set(box.addresses)) == SIGHTINGS_KEPT


@pytest.mark.parametrize("compiled", [True, False])
def test_once_a_second_at_most(box: Box, compiled: bool) -> None:
    # A machine that stops for a while lets the second go by: then another key begins anew.
    for _ in range(20):
        second = await_a_second()
        for number in range(1, 50):
            box.use(f"192.0.2.{number}", compiled=compiled)
        if milliseconds() // SECOND == second:
            assert box.addresses == ["192.0.2.1"]
            return
        box.secret = box.worker.issue()
    pytest.fail("no second was long enough for 49 uses")


def test_where_nothing_changes_the_time_of_the_address_moves_on(box: Box) -> None:
    """Without the table being written: the row of the tallies has the time."""
    box.use("192.0.2.1")
    puts = box.shared.sightings.stats().puts
    for _ in range(3):
        box.age()
        before = datetime.now(UTC) - timedelta(seconds=1)
        box.use("192.0.2.1")
        assert box.usage.sightings[0].at > before
    # Once more where another span of time began in between.
    assert box.shared.sightings.stats().puts <= puts + 1


def test_behind_proxies_the_address_is_the_one_they_name(tmp_path: Path) -> None:
    box = Box(tmp_path, proxies=1)
    box.use("192.0.2.1", "203.0.113.9")
    box.age()
    box.use("192.0.2.1", "198.51.100.7, 203.0.113.10")
    assert box.addresses == ["203.0.113.10", "203.0.113.9"]
    # The same address from another port is the same address.
    for forwarded in ("203.0.113.9:5678", "[2001:db8::5%25eth0]:443", "203.0.113.9:5679"):
        box.age()
        box.use("192.0.2.1", forwarded)
    assert box.addresses == ["203.0.113.9", "2001:db8::5", "203.0.113.10"]
    box.worker.store.close()


def test_without_proxies_what_the_client_says_is_not_heard(box: Box) -> None:
    box.use("192.0.2.1", "203.0.113.9")
    box.age()
    box.use("192.0.2.1", "203.0.113.10")
    assert box.addresses == ["192.0.2.1"]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("address", ["", None, "a\nb", "\ud800", "\x1b[2J"])
def test_a_peer_without_an_address(box: Box, address: object, compiled: bool) -> None:
    box.use(address, compiled=compiled)
    assert box.addresses == [UNKNOWN_ADDRESS]


def test_what_is_flushed_outlives_the_memory(box: Box) -> None:
    for number in range(1, SIGHTINGS_KEPT + 2):
        box.use(f"192.0.2.{number}")
        box.flush()
        box.age()
    before = box.usage
    box.shared.sightings.clear()
    newer = UsageReader(box.worker.store.usage, LiveTallies(SharedState.private()))
    after = newer.usage(box.credential)
    assert [one.address for one in after.sightings] == box.addresses
    assert after.first_used_at == before.first_used_at
    # Addresses seen since come on top of those that are written down.
    box.use("198.51.100.1")
    assert box.addresses[0] == "198.51.100.1"
    assert len(box.addresses) == SIGHTINGS_KEPT


def test_addresses_are_written_down_where_they_changed(box: Box) -> None:
    box.use("192.0.2.1")
    box.flush()
    before = box.tallies.tally(box.credential.id)
    box.age()
    box.use("192.0.2.1")
    (same,) = box.tallies.unwritten()
    assert (same.sightings == ()) == (same.source == before.source)
    box.flush()
    box.age()
    box.use("192.0.2.2")
    (other,) = box.tallies.unwritten()
    assert [sighting.address for sighting in other.sightings] == ["192.0.2.2", "192.0.2.1"]
    # Whoever has written nothing down yet writes everything.
    (fresh,) = LiveTallies(box.shared).unwritten()
    assert fresh == other


def test_the_first_use_stays_the_first(box: Box) -> None:
    never = box.usage
    assert never.first_used_at is None
    before = datetime.now(UTC) - timedelta(seconds=1)
    box.use("192.0.2.1")
    first = box.usage.first_used_at
    assert first is not None
    assert before <= first <= datetime.now(UTC)
    box.age()
    box.use("192.0.2.1")
    assert box.usage.first_used_at == first
    box.flush()
    assert box.credential.first_used_at == first
    # Another segment counts anew: what is written down is earlier.
    box.shared.uses.put(box.credential.id, Use.FIRST_USED, round(time.time() * 1000) + 5_000)
    assert box.usage.first_used_at == first
    box.use("192.0.2.1")
    box.flush()
    assert box.credential.first_used_at == first


def test_the_table_is_bounded(box: Box) -> None:
    capacity = box.shared.sightings.capacity
    for number in range(2 * capacity):
        box.sightings.record({"REMOTE_ADDR": "192.0.2.1"}, number, 1_700_000_000_000)
    stats = box.shared.sightings.stats()
    assert stats.entries <= capacity
    assert stats.evictions > 0


def test_four_addresses_of_the_longest_form_fit(box: Box) -> None:
    longest = [
        f"abcd:abcd:abcd:abcd:abcd:abcd:abcd:ab{number:02x}" for number in range(SIGHTINGS_KEPT)
    ]
    for address in longest:
        assert box.sightings.record({"REMOTE_ADDR": address}, 7, 9_999_999_999_999)
    assert len(box.tallies.sightings(box.tallies.tally(7))) == SIGHTINGS_KEPT
