"""Floods: many requests for one uncached key make one SELECT, and forged pairs make none.

In process, reads are counted at the store; over HTTP, by the metrics of the service.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from latchkey import Latchkey
from latchkey.config import load_settings
from latchkey.credentials.tokens import compose_secret, new_api_key
from latchkey.errors import InvalidCredential
from latchkey.store.sqlite.lookup import SqliteLookup
from tests.support.audited import TESTER, audit_files
from tests.support.auth.worker import presented
from tests.support.database import connections_of, new_database
from tests.support.service import Pair, Service
from tests.support.thread_switching import switching_every

pytestmark = pytest.mark.attack

THREADS = 50
FORGED = 20_000
ROUNDS = 20


class Statements(list[str]):
    """The key of every read of the store."""

    def watch(self, lookup: SqliteLookup) -> Statements:
        find = lookup._find

        def read(statement: str, value: str | bytes) -> object:
            self.append(str(value))
            return find(statement, value)

        # Every read calls this.
        lookup._find = read  # type: ignore[assignment,method-assign]
        return self


@pytest.fixture(params=["fastcache", "cachetools"])
def latchkey(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Latchkey]:
    """The parts of one worker with a real, migrated database."""
    settings = load_settings(
        {
            "LATCHKEY_DATABASE_URL": new_database(tmp_path / "latchkey.db"),
            "LATCHKEY_DERIVATION_KEYS": os.urandom(32).hex(),
            "LATCHKEY_CACHE_BACKEND": request.param,
            "LATCHKEY_THREADS": str(THREADS),
            **audit_files(tmp_path / "secrets"),
        }
    )
    made = Latchkey.from_settings(settings)
    yield made
    made.store.close()


@pytest.fixture
def statements(latchkey: Latchkey) -> Statements:
    return Statements().watch(connections_of(latchkey.store).lookup)


@pytest.fixture
def often_switching() -> Iterator[None]:
    """Threads switch every few instructions, so that every race is hit."""
    with switching_every(1e-6):
        yield


def at_once(act: Callable[[], object]) -> list[object]:
    """The results of ``act`` in each thread; exceptions are returned."""
    barrier = threading.Barrier(THREADS)
    outcomes: list[object] = []

    def run() -> None:
        barrier.wait()
        try:
            outcomes.append(act())
        except InvalidCredential as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == THREADS
    return outcomes


def forged() -> str:
    """A well-formed secret with a valid checksum, not made with a key of the instance."""
    return compose_secret(new_api_key("live"), os.urandom(32))


@pytest.mark.usefixtures("often_switching")
def test_one_cold_key_makes_one_select(latchkey: Latchkey, statements: Statements) -> None:
    for done in range(ROUNDS):
        issued = latchkey.credentials.issue(name="cold", caller=None, by=TESTER)
        credential = presented(issued.secret)
        outcomes = at_once(lambda: latchkey.authenticator.authenticate(credential))  # noqa: B023
        assert outcomes == [issued.credential.principal()] * THREADS
        assert len(statements) == done + 1


@pytest.mark.usefixtures("often_switching")
def test_one_unknown_key_makes_one_select(latchkey: Latchkey, statements: Statements) -> None:
    for done in range(ROUNDS):
        _, secret = latchkey.credentials.derive_pair("live")
        credential = presented(secret)
        outcomes = at_once(lambda: latchkey.authenticator.authenticate(credential))  # noqa: B023
        assert {type(outcome) for outcome in outcomes} == {InvalidCredential}
        assert len(statements) == done + 1


def test_forged_pairs_make_no_select(
    latchkey: Latchkey, statements: Statements, long: bool
) -> None:
    count = FORGED if long or latchkey.settings.cache_backend == "fastcache" else 1_000
    issued = latchkey.credentials.issue(name="attacked", caller=None, by=TESTER)
    for number in range(count):
        # Every second secret is for an existing key.
        secret = (
            compose_secret(issued.credential.api_key, os.urandom(32)) if number % 2 else forged()
        )
        with pytest.raises(InvalidCredential):
            latchkey.authenticator.authenticate(presented(secret))
    assert statements == []
    # The counter works: the valid secret causes a statement.
    latchkey.authenticator.authenticate(presented(issued.secret))
    assert len(statements) == 1


# ---- Over HTTP


def barrage(service: Service, requests: list[dict[str, str]], connections: int) -> list[int]:
    """The statuses of the requests, sent over this number of kept connections at the same time."""
    barrier = threading.Barrier(connections)
    statuses: list[int] = []

    def run(share: list[dict[str, str]]) -> None:
        connection = HTTPConnection("127.0.0.1", service.port, timeout=60)
        connection.connect()
        barrier.wait()
        for headers in share:
            statuses.append(ask(connection, headers))
        connection.close()

    threads = [
        threading.Thread(target=run, args=(requests[first::connections],))
        for first in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def ask(connection: HTTPConnection, headers: dict[str, str]) -> int:
    """The status of a request, which is sent again if the server has closed an idle connection."""
    while True:
        try:
            connection.request("GET", "/v1/account", headers=headers)
            answer = connection.getresponse()
        except ConnectionError:
            connection.close()
        else:
            answer.read()
            return answer.status


def test_floods_over_http(start_service: Callable[..., Service], long: bool) -> None:
    service = start_service(
        LATCHKEY_WORKERS="1", LATCHKEY_THREADS=str(THREADS), LATCHKEY_FAILURE_LIMIT="off"
    )

    def selects() -> float:
        return service.metric("latchkey_lookups_total", level="store", result="select")

    victim = service.issue()
    for done in range(ROUNDS if long else 4):
        cold = service.issue()
        before = selects()
        statuses = barrage(service, [cold.bearer] * THREADS, THREADS)
        assert statuses == [200] * THREADS
        assert selects() == before + 1, done

    count = FORGED if long else 1_000
    before = selects()
    wrong = [
        Pair(key, compose_secret(key, os.urandom(32)))
        for number in range(count)
        for key in [victim.api_key if number % 2 else new_api_key("test")]
    ]
    requests = [pair.headers if number % 3 else pair.bearer for number, pair in enumerate(wrong)]
    assert barrage(service, requests, 8) == [401] * count
    assert selects() == before
    forged_ones = service.metric("latchkey_lookups_total", level="derivation", result="forged")
    assert forged_ones == count
    assert service.get("/v1/account", victim.bearer).status == 200
    assert selects() == before + 1
