"""A miss never blocks the event loop, not even while the database is locked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from latchkey import Latchkey
from latchkey.asgi import LatchkeyMiddleware
from latchkey.box.counter_names import Count
from tests.support.audited import TESTER
from tests.support.auth.asgi_calls import AsgiApplication, ask, new_scope
from tests.support.auth.plain_application import Answer, bearer
from tests.support.faults.service_processes import other_process

LOCK = (
    "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    "c.execute('PRAGMA locking_mode = EXCLUSIVE')\n"
    "c.execute('BEGIN EXCLUSIVE')"
)


@pytest.fixture
def app(latchkey: Latchkey) -> LatchkeyMiddleware:
    return LatchkeyMiddleware(AsgiApplication(), latchkey)


def test_hits_are_answered_while_misses_wait_for_a_locked_database(
    app: LatchkeyMiddleware, latchkey: Latchkey, tmp_path: Path
) -> None:
    threads = latchkey.settings.threads
    secrets = [
        latchkey.credentials.issue(name="x", caller=None, by=TESTER).secret
        for _ in range(threads + 5)
    ]
    known, *cold = secrets
    finished: list[str] = []

    async def one(kind: str, secret: str) -> Answer:
        answer = await ask(app, new_scope("/", bearer(secret)))
        finished.append(kind)
        return answer

    async def main() -> tuple[list[Answer], list[Answer]]:
        while True:
            finished.clear()
            before = latchkey.authenticator.counters.value(Count.STORE_SELECT)
            misses = [asyncio.create_task(one("miss", secret)) for secret in cold]
            # Every thread has started to wait.
            while latchkey.authenticator.counters.value(Count.STORE_SELECT) < before + threads:
                await asyncio.sleep(0.005)
            if finished:
                # The machine stalled for longer than a lookup waits for the lock.
                await asyncio.gather(*misses)
                continue
            hits = await asyncio.gather(*(one("hit", known) for _ in range(100)))
            return list(hits), list(await asyncio.gather(*misses))

    assert asyncio.run(one("hit", known)).status == 200
    # No connection of this process may hold the database.
    latchkey.store.close()
    with other_process(LOCK, str(tmp_path / "latchkey.db")):
        hits, misses = asyncio.run(main())
    assert {answer.status for answer in hits} == {200}
    # Every hit was answered before any miss, though all misses came first.
    assert finished[:100] == ["hit"] * 100
    assert {answer.status for answer in misses} == {500}
    assert {answer.error["code"] for answer in misses} == {"internal_error"}
    # Afterwards, the same keys are found.
    assert asyncio.run(one("hit", cold[0])).status == 200


def test_hits_use_no_thread(
    app: LatchkeyMiddleware, latchkey: Latchkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = latchkey.credentials.issue(name="x", caller=None, by=TESTER).secret

    async def main() -> None:
        assert (await ask(app, new_scope("/", bearer(secret)))).status == 200

        def refuse(*arguments: Any) -> Any:
            raise AssertionError("a thread was used")

        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", refuse, raising=False)
        for _ in range(3):
            assert (await ask(app, new_scope("/", bearer(secret)))).status == 200

    asyncio.run(main())


def test_a_request_that_is_cancelled_while_it_waits_leaves_the_others(
    app: LatchkeyMiddleware, latchkey: Latchkey
) -> None:
    secrets = [
        latchkey.credentials.issue(name="x", caller=None, by=TESTER).secret for _ in range(8)
    ]

    async def main() -> list[int]:
        tasks = [asyncio.create_task(ask(app, new_scope("/", bearer(one)))) for one in secrets]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        return [one.status for one in done[1::2] if isinstance(one, Answer)]

    assert asyncio.run(main()) == [200] * 4
