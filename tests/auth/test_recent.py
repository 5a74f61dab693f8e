"""The table of recently admitted credentials: read before the caches, valid as long as they are."""

from __future__ import annotations

import gc
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from latchkey import wsgi
from latchkey.box.counter_names import Count, Use
from latchkey.check.cache_levels import CompiledLevel
from latchkey.credentials.models import Principal
from tests.support.auth.worker import Worker, api_key, forge
from tests.support.times import await_end, in_time

PRINCIPAL = "latchkey.principal"


def new_middleware(worker: Worker) -> Any:
    def application(environ: Any, start_response: Any) -> list[Principal]:
        return [environ[PRINCIPAL]]

    return wsgi.middleware(application, worker.authenticator)  # type: ignore[arg-type]


def ask(middleware: Any, secret: str) -> Any:
    """The principal of an admitted request, or the status of a refusal."""
    said: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "REMOTE_ADDR": "192.0.2.7",
        "HTTP_AUTHORIZATION": f"Bearer {secret}",
    }
    answer = middleware(environ, lambda status, headers, exc_info=None: said.append(status))
    return said[0] if said else next(iter(answer))


def asked_of_the_cache(worker: Worker) -> int:
    known = worker.authenticator.known
    assert isinstance(known, CompiledLevel)
    return known.cache.stats().hits


def test_the_cache_is_read_from_time_to_time(real_time_worker: Worker) -> None:
    """Otherwise the cache would treat a key in constant use as unused."""
    account = real_time_worker.new_account()
    secret = real_time_worker.issue(account=account)
    # Its generation is no longer that of other stripes.
    for _ in range(3):
        real_time_worker.authenticator.invalidate(account)
    middleware = new_middleware(real_time_worker)
    for _ in range(2_000):
        assert ask(middleware, secret).api_key == api_key(secret)
    assert 5 <= asked_of_the_cache(real_time_worker) <= 20
    assert real_time_worker.authenticator.counters.value(Count.CACHE_HIT) == 1_999
    assert real_time_worker.authenticator.shared.uses.value(1, Use.USES) == 2_000


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
def test_keys_with_the_same_place(tmp_path: Path, size: int) -> None:
    worker = Worker(tmp_path / "latchkey.db", real_time=True, cache_size=size)
    middleware = new_middleware(worker)
    secrets = [worker.issue() for _ in range(20)]
    for secret in secrets * 3 + [one for one in secrets for _ in range(3)]:
        assert ask(middleware, secret).api_key == api_key(secret)
        assert ask(middleware, forge(secret)) == "401 Unauthorized"
    worker.close()


def test_a_place_that_is_reused_while_its_principal_is_stored(tmp_path: Path) -> None:
    """The comparison of an environ's key may run code that makes other requests."""
    worker = Worker(tmp_path / "latchkey.db", real_time=True, cache_size=2)
    middleware = new_middleware(worker)
    secret, *others = [worker.issue() for _ in range(6)]
    asked: list[str] = []

    class Reentrant(str):
        def __eq__(self, other: object) -> bool:
            if other == PRINCIPAL and not asked:
                asked.extend(ask(middleware, each).api_key for each in others * 2)
                gc.collect()
            return False

        def __hash__(self) -> int:
            return hash(PRINCIPAL)

    for _ in range(3):
        assert ask(middleware, secret).api_key == api_key(secret)
    before = worker.authenticator.counters.value(Count.CACHE_HIT)
    environ: Any = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "REMOTE_ADDR": "192.0.2.7",
        "HTTP_AUTHORIZATION": f"Bearer {secret}",
        Reentrant(): "",
    }
    (principal,) = middleware(environ, lambda *said: None)
    assert principal.api_key == api_key(secret)
    assert asked == [api_key(each) for each in others * 2]
    assert worker.authenticator.counters.value(Count.CACHE_HIT) > before
    worker.close()


def test_an_invalidated_entry_is_invalid_there_too(real_time_worker: Worker) -> None:
    middleware = new_middleware(real_time_worker)
    revoked, invalidated = real_time_worker.issue(), real_time_worker.issue()
    for secret in (revoked, invalidated) * 3:
        assert ask(middleware, secret).api_key == api_key(secret)
    real_time_worker.revoke(revoked)
    assert ask(middleware, revoked) == "401 Unauthorized"
    reads = real_time_worker.reads.count
    real_time_worker.authenticator.invalidate(invalidated[3:30])
    assert ask(middleware, invalidated).api_key == api_key(invalidated)
    real_time_worker.authenticator.shared.invalidate_all()
    assert ask(middleware, invalidated).api_key == api_key(invalidated)
    assert real_time_worker.reads.count == reads + 2


def test_a_key_that_expires_is_refused_there_too(real_time_worker: Worker) -> None:
    middleware = new_middleware(real_time_worker)

    def use(end: datetime) -> str:
        secret = real_time_worker.issue(end)
        for _ in range(3):
            assert ask(middleware, secret).api_key == api_key(secret)
        return secret

    secret, end = in_time(use)
    await_end(end)
    assert ask(middleware, secret) == "401 Unauthorized"


def test_a_place_expires_at_its_deadline(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "latchkey.db", real_time=True, cache_ttl=1.0)
    middleware = new_middleware(worker)

    def use(end: datetime) -> str:
        secret, before = worker.issue(), worker.reads.count
        for _ in range(2):
            ask(middleware, secret)
        assert worker.reads.count == before + 1
        return secret

    # It was stored after the first life of a second had begun.
    secret, _ = in_time(use)
    before = worker.reads.count
    time.sleep(1.01)
    ask(middleware, secret)
    assert worker.reads.count == before + 1
    worker.close()


def test_principals_are_released(real_time_worker: Worker) -> None:
    secret = real_time_worker.issue()
    principal = real_time_worker.authenticate(secret)
    gc.collect()
    before = sys.getrefcount(principal)
    middleware = new_middleware(real_time_worker)
    for _ in range(5):
        assert ask(middleware, secret) is principal
    assert sys.getrefcount(principal) == before + 1
    del middleware
    gc.collect()
    assert sys.getrefcount(principal) == before
