"""A key is rotated while clients send requests: no request fails, and no client restarts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import requests

from latchkey.client import HttpxAuth, KeyFile, RequestsAuth
from latchkey.client.keys import Scheme
from tests.support.client.senders import write_key
from tests.support.faults.service_processes import wait_until
from tests.support.service import Pair, Service

THREADS = 3


class Work:
    """The keys that a client's answers named, until it is told to stop."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.answered: list[str] = []
        self.failed: list[object] = []

    def note(self, answer: requests.Response | httpx.Response) -> None:
        if answer.status_code == 200:
            self.answered.append(answer.json()["api_key"])
        else:
            self.failed.append((answer.status_code, answer.text))
            self.stopped.set()


def work_with_requests(url: str, file: Path, scheme: Scheme, works: list[Work]) -> None:
    with requests.Session() as session:
        session.auth = RequestsAuth(KeyFile(file), scheme=scheme)

        def work(one: Work) -> None:
            while not one.stopped.is_set():
                one.note(session.get(url, timeout=60))

        in_threads(work, works)


def work_with_httpx(url: str, file: Path, scheme: Scheme, works: list[Work]) -> None:
    with httpx.Client(auth=HttpxAuth(KeyFile(file), scheme=scheme), timeout=60) as client:

        def work(one: Work) -> None:
            while not one.stopped.is_set():
                one.note(client.get(url))

        in_threads(work, works)


def work_with_async_httpx(url: str, file: Path, scheme: Scheme, works: list[Work]) -> None:
    auth = HttpxAuth(KeyFile(file), scheme=scheme)

    async def work_all() -> None:
        async with httpx.AsyncClient(auth=auth, timeout=60) as client:

            async def work(one: Work) -> None:
                while not one.stopped.is_set():
                    one.note(await client.get(url))

            await asyncio.gather(*map(work, works))

    asyncio.run(work_all())


def in_threads(work: Callable[[Work], None], works: list[Work]) -> None:
    threads = [threading.Thread(target=work, args=(one,)) for one in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def put(file: Path, pair: Pair) -> None:
    write_key(file, pair.api_secret, pair.api_key)


@pytest.mark.parametrize(
    "client",
    [work_with_requests, work_with_httpx, work_with_async_httpx],
    ids=lambda one: one.__name__,
)
@pytest.mark.parametrize("scheme", ["bearer", "pair"])
def test_a_rotation_while_a_client_works(
    service: Service,
    tmp_path: Path,
    client: Callable[[str, Path, Scheme, list[Work]], None],
    scheme: Scheme,
) -> None:
    old, file = service.issue(), tmp_path / "client.key"
    put(file, old)
    works = [Work() for _ in range(THREADS)]
    running = threading.Thread(
        target=client, args=(f"{service.url}/v1/account", file, scheme, works)
    )
    running.start()
    try:
        wait_until(lambda: all(one.answered for one in works), "answers to all")
        rotated = service.request(
            "POST",
            f"/v1/api_keys/{old.api_key}/rotate",
            old.bearer,
            json_body={"overlap_seconds": 3600},
        )
        new = Pair(rotated.json["api_key"], rotated.json["api_secret"])
        put(file, new)
        revoked = service.request("DELETE", f"/v1/api_keys/{old.api_key}", old.bearer)
        assert revoked.status == 200
        wait_until(
            lambda: all(one.answered[-1] == new.api_key or one.failed for one in works),
            "the new key",
        )
    finally:
        for one in works:
            one.stopped.set()
        running.join()
    assert [one.failed for one in works] == [[]] * THREADS
    for one in works:
        assert sorted(set(one.answered), key=one.answered.index) == [old.api_key, new.api_key]


def test_a_key_that_arrives_after_the_401(service: Service, tmp_path: Path) -> None:
    """The client fails until the file has the new key, and then works without a restart."""
    old, file = service.issue(), tmp_path / "client.key"
    put(file, old)
    with requests.Session() as session:
        session.auth = RequestsAuth(KeyFile(file))
        url = f"{service.url}/v1/account"
        assert session.get(url, timeout=60).status_code == 200
        service.request("DELETE", f"/v1/api_keys/{old.api_key}", old.bearer)
        assert session.get(url, timeout=60).json()["error"]["code"] == "key_revoked"
        put(file, service.issue())
        assert session.get(url, timeout=60).status_code == 200
