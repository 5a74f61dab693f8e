"""A change takes effect in every worker before the answer, or soon after a crash of its process."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from tests.support import forked
from tests.support.faults.account_office import (
    StandingOffice,
    change_and_die,
    standing_office,
)
from tests.support.faults.load import under_load
from tests.support.faults.outage import derived
from tests.support.faults.service_processes import Stalls, alone, wait_until, workers
from tests.support.latchkey_command import StandingCommand, standing_command
from tests.support.service import Pair, Service
from tests.support.times import await_end, in_time

pytestmark = pytest.mark.attack

ROUNDS = 2_000
"""The number of changes of each kind, in a full run."""


@pytest.fixture(scope="module", params=["fastcache", "cachetools"])
def box(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Four workers with each kind of cache."""
    directory = tmp_path_factory.mktemp("coherence")
    settings = {
        "LATCHKEY_WORKERS": "4",
        "LATCHKEY_FAILURE_LIMIT": "off",
        "LATCHKEY_CACHE_BACKEND": request.param,
    }
    with Service(directory, **settings) as service:
        yield service


@pytest.fixture(scope="module")
def command(box: Service) -> Iterator[StandingCommand]:
    with standing_command(box) as command:
        yield command


@pytest.fixture(scope="module")
def office(box: Service) -> Iterator[StandingOffice]:
    with standing_office(box) as office:
        yield office


End = Callable[[Service, StandingCommand, Pair, str], None]


def by_api(box: Service, command: StandingCommand, issuer: Pair, api_key: str) -> None:
    answer = box.request("DELETE", f"/credentials/{api_key}", issuer.headers)
    assert answer.status == 200


def by_command(box: Service, command: StandingCommand, issuer: Pair, api_key: str) -> None:
    command("keys", "revoke", "--yes", api_key)


def by_process(box: Service, command: StandingCommand, issuer: Pair, api_key: str) -> None:
    box.command("keys", "revoke", "--yes", api_key)


def by_rotation(box: Service, command: StandingCommand, issuer: Pair, api_key: str) -> None:
    path = f"/v1/api_keys/{api_key}/rotate"
    body = {"overlap_seconds": 0}
    assert box.request("POST", path, issuer.bearer, json_body=body).status == 201


def by_change(terms: dict[str, object]) -> End:
    """A PATCH that leaves the key valid, and no longer good for the requests of the test."""

    def change(box: Service, command: StandingCommand, issuer: Pair, api_key: str) -> None:
        path = f"/v1/api_keys/{api_key}"
        assert box.request("PATCH", path, issuer.bearer, json_body=terms).status == 200

    return change


def answers(box: Service, pair: Pair, requests: int = 8) -> set[int]:
    """The answers to several requests, by any workers."""
    return {box.get("/v1/account", pair.bearer).status for _ in range(requests)}


@pytest.mark.parametrize(
    ("end", "refused", "rounds", "long_rounds"),
    [
        (by_api, 401, 6, ROUNDS),
        (by_command, 401, 6, ROUNDS),
        (by_process, 401, 1, 20),
        (by_rotation, 401, 3, ROUNDS),
        (by_change({"enabled": False}), 401, 3, ROUNDS),
        (by_change({"not_before": "2999-01-01T00:00:00Z"}), 401, 2, ROUNDS // 4),
        (by_change({"scopes": ["credentials:read"]}), 403, 2, ROUNDS // 4),
        (by_change({"networks": ["192.0.2.0/24"]}), 403, 3, ROUNDS // 4),
        (by_change({"endpoints": ["POST /**"]}), 403, 3, ROUNDS // 4),
    ],
    ids=[
        *("api", "command", "process", "rotation", "disable", "not-before", "scopes"),
        *("networks", "endpoints"),
    ],
)
def test_no_request_passes_after_the_end_of_a_key(
    box: Service,
    command: StandingCommand,
    long: bool,
    end: End,
    refused: int,
    rounds: int,
    long_rounds: int,
) -> None:
    """Clients send requests constantly; those after the end of a key must be refused."""
    issuer = box.issue()
    current = [box.issue()]
    ended: dict[str, float] = {}
    with under_load(box, lambda: current[0], pause=0.001 if long else 0.01) as load:
        for _ in range(long_rounds if long else rounds):
            pair = current[0]
            wait_until(lambda pair=pair: pair.api_key in load.last_good, "a 200")  # type: ignore[misc]
            end(box, command, issuer, pair.api_key)
            ended[pair.api_key] = time.monotonic()
            assert answers(box, pair, 4) == {refused}
            current[0] = box.issue()
    # Now the last answers have arrived.
    assert set(ended) <= set(load.last_good)
    assert [key for key, moment in ended.items() if load.last_good[key] >= moment] == []
    assert set(load.statuses) <= {200, refused}
    assert load.broken == 0


@pytest.mark.parametrize(
    ("by", "rounds", "long_rounds"), [("api", 3, ROUNDS), ("command", 3, ROUNDS)]
)
def test_scopes_change_immediately_in_every_worker(
    box: Service, command: StandingCommand, long: bool, by: str, rounds: int, long_rounds: int
) -> None:
    issuer, pair = box.issue(), box.issue()
    path = f"/v1/api_keys/{pair.api_key}"
    before = 200
    for _ in range((long_rounds if long else rounds) // 2 + 1):
        for scope, status in (("credentials:read", 403), ("account:read", 200)):
            assert answers(box, pair, 4) == {before}
            if by == "api":
                body = {"scopes": [scope]}
                assert box.request("PATCH", path, issuer.bearer, json_body=body).status == 200
            else:
                command("keys", "change", pair.api_key, "--scope", scope)
            assert answers(box, pair) == {status}
            before = status


def test_the_expiry_changes_immediately_in_every_worker(box: Service, long: bool) -> None:
    """Workers that have cached a later expiry apply an earlier one, and the other way round."""
    issuer, pairs = box.issue(), [box.issue() for _ in range(10)]

    def change(pair: Pair, expires_at: datetime | None) -> None:
        path = f"/v1/api_keys/{pair.api_key}"
        text = None if expires_at is None else expires_at.isoformat(timespec="milliseconds")
        body = {"expires_at": text and text.replace("+00:00", "Z")}
        assert box.request("PATCH", path, issuer.bearer, json_body=body).status == 200

    for _ in range(ROUNDS // (2 * len(pairs)) if long else 1):
        assert [answers(box, pair, 4) for pair in pairs] == [{200}] * len(pairs)

        def end_all(end: datetime) -> None:
            for pair in pairs:
                change(pair, end)

        _, end = in_time(end_all)
        await_end(end)
        for pair in pairs:
            assert answers(box, pair) == {401}
            change(pair, None)
            assert answers(box, pair) == {200}


def test_a_new_key_is_known_immediately_in_every_worker(box: Service, long: bool) -> None:
    for _ in range(ROUNDS if long else 5):
        pair = derived(box)
        assert answers(box, pair) == {401}
        body = {"api_key": pair.api_key, "api_secret": pair.api_secret}
        assert box.request("POST", "/credentials", json_body=body).status == 201
        assert answers(box, pair) == {200}


def test_keys_from_the_command_line_are_known_immediately(
    box: Service, command: StandingCommand, long: bool
) -> None:
    for _ in range(100 if long else 2):
        made = json.loads(command("keys", "create", "--name", "test", "--json"))
        assert answers(box, Pair(made["api_key"], made["api_secret"])) == {200}


def test_the_command_line_changes_what_the_service_does(box: Service) -> None:
    """The command as an operator runs it."""
    pair = box.create_key()
    assert answers(box, pair) == {200}
    box.command("keys", "change", pair.api_key, "--scope", "credentials:read")
    assert answers(box, pair) == {403}
    box.command("keys", "change", pair.api_key, "--scope", "*")
    assert answers(box, pair) == {200}
    box.command("keys", "rotate", pair.api_key, "--overlap", "0")
    assert answers(box, pair) == {401}


def test_clearing_loses_nothing(box: Service, command: StandingCommand) -> None:
    pair = box.issue()
    assert answers(box, pair) == {200}
    assert command("cache", "clear") == "cleared\n"
    assert answers(box, pair) == {200}
    assert "workers.hits" in command("cache", "stats")
    # The name contains the user.
    assert f"/dev/shm/latchkey-{os.geteuid()}-" in command("cache", "stats", "--json")


# Revokes like the service, and dies on the way: after the commit, before the increment.
_KILLED = """
import os, signal, sys, time
from latchkey.config import load_settings
from latchkey_service.command_user import command_line_user
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.service import CredentialService
from latchkey.key_files import load_derivation
from latchkey.key_files import load_seal
from latchkey.box.segment import changing_keys
from latchkey.store.database_urls import database_of
settings = load_settings()
def die(lookup):
    print(time.monotonic(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
with changing_keys(settings) as shared:
    store = database_of(settings).open_store(seal=load_seal(settings))
    publisher = Publisher(store.audit, die)
    service = CredentialService(store, load_derivation(settings), publisher)
    service.revoke(sys.argv[1], None, by=command_line_user())
"""


def revoke_and_die(box: Service, api_key: str) -> float:
    """When it was killed, by CLOCK_MONOTONIC in seconds."""
    with forked.piped(
        [api_key], code=_KILLED, directory=box.directory, environment=box.environment()
    ) as command:
        killed = command.output.read()
    assert command.process.returncode == -9
    return float(killed)


def test_a_revocation_by_a_killed_process_takes_effect_soon(box: Service, long: bool) -> None:
    """No worker admits a request that starts a second after the kill or later.

    Each worker has cached the key, and each gets its own request: a worker that had to read the
    database would refuse in any case.
    """
    for _ in range(50 if long else 1):
        pair = box.issue()
        assert asked_of_each(box, pair) == [200] * 4
        with Stalls() as stalls:
            killed = revoke_and_die(box, pair.api_key)
            time.sleep(max(0, killed + 1 - time.monotonic()))
        # On a busy machine, the workers were not running either.
        time.sleep(10 * stalls.longest)
        for _ in range(2):
            assert asked_of_each(box, pair) == [401] * 4


def test_an_account_is_disabled_and_enabled_under_load(
    box: Service, office: StandingOffice, long: bool
) -> None:
    """No late 200 after it is disabled, no wrong 401 after it is enabled, in any worker.

    The keys of another account are accepted all the time.
    """
    account = office.create()
    pair, other = office.issue(account), office.issue(office.create())
    pause = 0.001 if long else 0.01
    phases: list[tuple[float, float, int]] = []
    with (
        under_load(box, lambda: pair, pause=pause) as load,
        under_load(box, lambda: other, clients=1, pause=pause) as others,
    ):
        for _ in range(500 if long else 3):
            for status in (200, 401):
                start = time.monotonic()
                seen = load.statuses[status]
                assert answers(box, pair, 4) == {status}
                wait_until(lambda: load.statuses[status] > seen + 3, "answers", pause=0.001)  # noqa: B023
                phases.append((start, time.monotonic(), status))
                office.change(account, "disabled" if status == 200 else "active")
    for start, end, status in phases:
        assert load.statuses_between(start, end) <= {status}
    assert set(load.statuses) == {200, 401}
    assert set(others.statuses) == {200}
    assert load.broken == others.broken == 0


@pytest.mark.parametrize("after_word", [False, True], ids=["after the commit", "after the word"])
def test_a_change_of_an_account_by_a_killed_process_takes_effect_soon(
    box: Service, office: StandingOffice, long: bool, after_word: bool
) -> None:
    """It is killed before its first increment, or between the two."""
    for _ in range(50 if long else 1):
        account = office.create()
        pair, other = office.issue(account), office.issue(office.create())
        assert asked_of_each(box, pair) == asked_of_each(box, other) == [200] * 4
        for change, status in (("disabled", 401), ("active", 200)):
            with Stalls() as stalls:
                killed = change_and_die(box, account, change, after_word=after_word)  # type: ignore[arg-type]
                time.sleep(max(0, killed + 1 - time.monotonic()))
                time.sleep(stalls.longest)
            for _ in range(2):
                assert asked_of_each(box, pair) == [status] * 4
            assert asked_of_each(box, other) == [200] * 4


def asked_of_each(box: Service, pair: Pair) -> list[int]:
    """The answer of each of the workers, one after the other."""
    statuses = []
    for pid in workers(box):
        with alone(box, pid):
            statuses.append(box.get("/v1/account", pair.bearer).status)
    return statuses
