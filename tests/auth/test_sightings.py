"""Addresses that credentials are used from: recorded by every worker, and persisted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from latchkey import wsgi
from latchkey.addresses import ClientAddresses
from latchkey.box.counter_names import Use
from latchkey.box.shared import SharedState
from latchkey.box.sightings import UNKNOWN_ADDRESS, Sightings
from latchkey.box.use_counts import LiveTallies
from latchkey.credentials.models import SIGHTINGS_KEPT, Credential, Principal, Usage
from latchkey.credentials.usage import UsageReader
from tests.support.auth.worker import Worker, api_key

PRINCIPAL = "latchkey.principal"
# In milliseconds: a second of the check, and the maximum lag of its clock.
SECOND = 1024
LAG = 100


class SightedWorker:
    """A worker in real time with one credential, and the addresses of its uses."""

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
        """Make one request, compiled or through Python; the first is a miss."""
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
        """Make the last use older than a second."""
        self.shared.uses.put(self.credential.id, Use.LAST_USED, round(time.time() * 1000) - 5_000)

    def flush(self) -> None:
        tallies = self.tallies.unwritten()
        self.worker.store.usage.flush(self.tallies.segment, tallies, datetime.now(UTC))
        self.tallies.written(tallies)


def milliseconds() -> int:
    """The time since 1970, as for use counts."""
    return time.time_ns() // 1_000_000


def await_a_second() -> int:
    """Wait for the start of a second on all clocks; returns its number."""
    while not LAG < milliseconds() % SECOND < SECOND - 300:
        time.sleep(0.05)
    return milliseconds() // SECOND


@pytest.fixture
def sighted(tmp_path: Path) -> Iterator[SightedWorker]:
    sighted = SightedWorker(tmp_path)
    yield sighted
    sighted.worker.store.close()


@pytest.mark.parametrize("compiled", [True, False])
def test_the_last_addresses_newest_first(sighted: SightedWorker, compiled: bool) -> None:
    addresses = [f"192.0.2.{number}" for number in range(1, SIGHTINGS_KEPT + 3)]
    for address in addresses:
        sighted.use(address, compiled=compiled)
        sighted.age()
    assert sighted.addresses == addresses[::-1][:SIGHTINGS_KEPT]
    sighted.use(addresses[3], compiled=compiled)
    assert sighted.addresses[0] == addresses[3]
    assert len(set(sighted.addresses)) == SIGHTINGS_KEPT


@pytest.mark.parametrize("compiled", [True, False])
def test_at_most_once_per_second(sighted: SightedWorker, compiled: bool) -> None:
    # If the machine stops for a while, the second passes: then another key is tried.
    for _ in range(20):
        second = await_a_second()
        for number in range(1, 50):
            sighted.use(f"192.0.2.{number}", compiled=compiled)
        if milliseconds() // SECOND == second:
            assert sighted.addresses == ["192.0.2.1"]
            return
        sighted.secret = sighted.worker.issue()
    pytest.fail("no second was long enough for 49 uses")


def test_the_time_of_an_unchanged_address_advances(sighted: SightedWorker) -> None:
    """The table is not written: the row of the tallies has the time."""
    sighted.use("192.0.2.1")
    puts = sighted.shared.sightings.stats().puts
    for _ in range(3):
        sighted.age()
        before = datetime.now(UTC) - timedelta(seconds=1)
        sighted.use("192.0.2.1")
        assert sighted.usage.sightings[0].at > before
    # Once more if another period began in between.
    assert sighted.shared.sightings.stats().puts <= puts + 1


def test_behind_proxies_the_forwarded_address_is_recorded(tmp_path: Path) -> None:
    sighted = SightedWorker(tmp_path, proxies=1)
    sighted.use("192.0.2.1", "203.0.113.9")
    sighted.age()
    sighted.use("192.0.2.1", "198.51.100.7, 203.0.113.10")
    assert sighted.addresses == ["203.0.113.10", "203.0.113.9"]
    # The port does not matter.
    for forwarded in ("203.0.113.9:5678", "[2001:db8::5%25eth0]:443", "203.0.113.9:5679"):
        sighted.age()
        sighted.use("192.0.2.1", forwarded)
    assert sighted.addresses == ["203.0.113.9", "2001:db8::5", "203.0.113.10"]
    sighted.worker.store.close()


def test_without_proxies_forwarded_headers_are_ignored(sighted: SightedWorker) -> None:
    sighted.use("192.0.2.1", "203.0.113.9")
    sighted.age()
    sighted.use("192.0.2.1", "203.0.113.10")
    assert sighted.addresses == ["192.0.2.1"]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("address", ["", None, "a\nb", "\ud800", "\x1b[2J"])
def test_a_peer_without_an_address(sighted: SightedWorker, address: object, compiled: bool) -> None:
    sighted.use(address, compiled=compiled)
    assert sighted.addresses == [UNKNOWN_ADDRESS]


def test_flushed_addresses_outlive_the_memory(sighted: SightedWorker) -> None:
    for number in range(1, SIGHTINGS_KEPT + 2):
        sighted.use(f"192.0.2.{number}")
        sighted.flush()
        sighted.age()
    before = sighted.usage
    sighted.shared.sightings.clear()
    newer = UsageReader(sighted.worker.store.usage, LiveTallies(SharedState.private()))
    after = newer.usage(sighted.credential)
    assert [one.address for one in after.sightings] == sighted.addresses
    assert after.first_used_at == before.first_used_at
    # New addresses are merged with the persisted ones.
    sighted.use("198.51.100.1")
    assert sighted.addresses[0] == "198.51.100.1"
    assert len(sighted.addresses) == SIGHTINGS_KEPT


def test_changed_addresses_are_persisted(sighted: SightedWorker) -> None:
    sighted.use("192.0.2.1")
    sighted.flush()
    before = sighted.tallies.tally(sighted.credential.id)
    sighted.age()
    sighted.use("192.0.2.1")
    (same,) = sighted.tallies.unwritten()
    assert (same.sightings == ()) == (same.source == before.source)
    sighted.flush()
    sighted.age()
    sighted.use("192.0.2.2")
    (other,) = sighted.tallies.unwritten()
    assert [sighting.address for sighting in other.sightings] == ["192.0.2.2", "192.0.2.1"]
    # An object that has persisted nothing yet returns everything.
    (fresh,) = LiveTallies(sighted.shared).unwritten()
    assert fresh == other


def test_the_first_use_is_kept(sighted: SightedWorker) -> None:
    never = sighted.usage
    assert never.first_used_at is None
    before = datetime.now(UTC) - timedelta(seconds=1)
    sighted.use("192.0.2.1")
    first = sighted.usage.first_used_at
    assert first is not None
    assert before <= first <= datetime.now(UTC)
    sighted.age()
    sighted.use("192.0.2.1")
    assert sighted.usage.first_used_at == first
    sighted.flush()
    assert sighted.credential.first_used_at == first
    # Another segment starts counting from zero; the persisted use is earlier.
    sighted.shared.uses.put(
        sighted.credential.id, Use.FIRST_USED, round(time.time() * 1000) + 5_000
    )
    assert sighted.usage.first_used_at == first
    sighted.use("192.0.2.1")
    sighted.flush()
    assert sighted.credential.first_used_at == first


def test_the_table_is_bounded(sighted: SightedWorker) -> None:
    capacity = sighted.shared.sightings.capacity
    for number in range(2 * capacity):
        sighted.sightings.record({"REMOTE_ADDR": "192.0.2.1"}, number, 1_700_000_000_000)
    stats = sighted.shared.sightings.stats()
    assert stats.entries <= capacity
    assert stats.evictions > 0


def test_four_addresses_of_the_longest_form_fit(sighted: SightedWorker) -> None:
    longest = [
        f"abcd:abcd:abcd:abcd:abcd:abcd:abcd:ab{number:02x}" for number in range(SIGHTINGS_KEPT)
    ]
    for address in longest:
        assert sighted.sightings.record({"REMOTE_ADDR": address}, 7, 9_999_999_999_999)
    assert len(sighted.tallies.sightings(sighted.tallies.tally(7))) == SIGHTINGS_KEPT
