"""A change is in effect in every worker before whoever made it hears so; and soon, if it died."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.load import under_load
from tests.faults.outage import derived
from tests.faults.processes import Stalls, alone, workers
from tests.service import Pair, Service

ROOT = Path(__file__).parents[2]
_PATIENCE = 30.0


@pytest.fixture(scope="module", params=["fastcache", "cachetools"])
def box(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Four workers over each kind of cache."""
    directory = tmp_path_factory.mktemp("coherence")
    settings = {
        "LATCHKEY_WORKERS": "4",
        "LATCHKEY_FAILURE_LIMIT": "off",
        "LATCHKEY_CACHE_BACKEND": request.param,
    }
    with Service(directory, **settings) as service:
        yield service


def by_api(box: Service, issuer: Pair, api_key: str) -> None:
    answer = box.request("DELETE", f"/credentials/{api_key}", issuer.headers)
    assert answer.status == 200


def by_command(box: Service, issuer: Pair, api_key: str) -> None:
    box.command("keys", "revoke", "--yes", api_key)


def by_expiry(box: Service, issuer: Pair, api_key: str) -> None:
    path = f"/v1/api_keys/{api_key}/rotate"
    body = {"overlap_seconds": 0}
    assert box.request("POST", path, issuer.bearer, json_body=body).status == 201


@pytest.mark.parametrize(
    ("end", "rounds", "long_rounds"),
    [(by_api, 12, 2_000), (by_command, 3, 200), (by_expiry, 6, 500)],
)
def test_no_request_passes_that_begins_after_the_end_of_a_key(
    box: Service,
    long: bool,
    end: Callable[[Service, Pair, str], None],
    rounds: int,
    long_rounds: int,
) -> None:
    issuer = box.issue()
    current = [box.issue()]
    with under_load(box, lambda: current[0]) as load:
        for _ in range(long_rounds if long else rounds):
            pair = current[0]
            wait_for(lambda pair=pair: pair.api_key in load.last_good)  # type: ignore[misc]
            end(box, issuer, pair.api_key)
            ended = time.monotonic()
            for _ in range(8):
                assert box.get("/v1/account", pair.bearer).status == 401
            assert load.last_good[pair.api_key] < ended
            current[0] = box.issue()
        assert set(load.statuses) <= {200, 401}
        assert load.broken == 0


def test_scopes_change_in_every_worker_at_once(box: Service, long: bool) -> None:
    issuer, pair = box.issue(), box.issue()
    path = f"/v1/api_keys/{pair.api_key}"
    before = 200
    for _ in range(300 if long else 6):
        for scopes, status in ((["credentials:read"], 403), (["account:read"], 200)):
            assert {box.get("/v1/account", pair.bearer).status for _ in range(4)} == {before}
            changed = box.request("PATCH", path, issuer.bearer, json_body={"scopes": scopes})
            assert changed.status == 200
            assert {box.get("/v1/account", pair.bearer).status for _ in range(8)} == {status}
            before = status


@pytest.mark.parametrize("by", ["api", "command"])
def test_what_was_unknown_is_known_in_every_worker_at_once(
    box: Service, long: bool, by: str
) -> None:
    for _ in range((300 if long else 6) if by == "api" else 2):
        if by == "api":
            pair = derived(box)
            assert {box.get("/v1/account", pair.bearer).status for _ in range(12)} == {401}
            body = {"api_key": pair.api_key, "api_secret": pair.api_secret}
            assert box.request("POST", "/credentials", json_body=body).status == 201
        else:
            pair = box.create_key()
        assert {box.get("/v1/account", pair.bearer).status for _ in range(12)} == {200}


def test_the_command_line_changes_what_the_service_does(box: Service) -> None:
    pair = box.issue()
    assert {box.get("/v1/account", pair.bearer).status for _ in range(8)} == {200}
    box.command("keys", "change", pair.api_key, "--scope", "credentials:read")
    assert {box.get("/v1/account", pair.bearer).status for _ in range(8)} == {403}
    box.command("keys", "change", pair.api_key, "--scope", "*")
    assert {box.get("/v1/account", pair.bearer).status for _ in range(8)} == {200}
    box.command("keys", "rotate", pair.api_key, "--overlap", "0")
    assert {box.get("/v1/account", pair.bearer).status for _ in range(8)} == {401}


# Revokes as the service does, and dies on the way: after the commit, before the increment.
_KILLED = """
import os, signal, sys, time
from app.config import load_settings
from app.command_user import command_line_user
from app.credentials.service import CredentialService
from app.key_files import load_derivation, load_seal
from app.segment import changing_keys
from app.store import Store
settings = load_settings()
def die(lookup):
    print(time.monotonic(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
with changing_keys(settings) as shared:
    store = Store(settings.database_url, seal=load_seal(settings))
    service = CredentialService(store, load_derivation(settings), die)
    service.revoke(sys.argv[1], None, by=command_line_user())
"""


def revoke_and_die(box: Service, api_key: str) -> float:
    """When it was killed, by CLOCK_MONOTONIC in seconds."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, api_key],
        cwd=box.directory,
        env={**box.environment(), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == -9
    return float(done.stdout)


def test_a_revocation_whose_maker_was_killed_is_soon_in_effect(box: Service, long: bool) -> None:
    """No worker lets a request pass that begins a second after the kill, or ever again.

    Each worker has the key cached, and each is asked by itself: one that had to read the database
    would refuse in any case.
    """
    for _ in range(50 if long else 2):
        pair = box.issue()
        assert asked_of_each(box, pair) == [200] * 4
        with Stalls() as stalls:
            killed = revoke_and_die(box, pair.api_key)
            time.sleep(max(0, killed + 1 - time.monotonic()))
            time.sleep(stalls.longest)
        for _ in range(2):
            assert asked_of_each(box, pair) == [401] * 4


def asked_of_each(box: Service, pair: Pair) -> list[int]:
    """What each of the workers answers, one after the other."""
    statuses = []
    for pid in workers(box):
        with alone(box, pid):
            statuses.append(box.get("/v1/account", pair.bearer).status)
    return statuses


def test_a_revocation_that_is_tried_again_is_in_effect_at_once(box: Service) -> None:
    issuer = box.issue()
    for _ in range(5):
        pair = box.issue()
        assert {box.get("/v1/account", pair.bearer).status for _ in range(8)} == {200}
        revoke_and_die(box, pair.api_key)
        again = box.request("DELETE", f"/credentials/{pair.api_key}", issuer.headers)
        assert again.status == 404
        assert {box.get("/v1/account", pair.bearer).status for _ in range(8)} == {401}


def test_clearing_loses_nothing(box: Service) -> None:
    pair = box.issue()
    assert {box.get("/v1/account", pair.bearer).status for _ in range(8)} == {200}
    assert box.command("cache", "clear").stdout == "cleared\n"
    assert {box.get("/v1/account", pair.bearer).status for _ in range(8)} == {200}
    assert "workers.hits" in box.command("cache", "stats").stdout


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_the_memory_is_named_for_the_user(box: Service) -> None:
    said = box.command("cache", "stats", "--json").stdout
    assert f"/dev/shm/latchkey-{os.geteuid()}-" in said
