"""Clients that send requests constantly, and the answers that they got."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import NamedTuple

from tests.support.faults.service_processes import wait_until
from tests.support.service import Pair, Service


class Answer(NamedTuple):
    """The answer to one request; the times are those of CLOCK_MONOTONIC in seconds."""

    began: float
    ended: float
    status: int


class Load:
    """Several clients that present one pair, with a new connection for each request.

    ``statuses`` counts the answers, ``broken`` the requests without an answer, which the service
    may have counted or not.
    """

    def __init__(
        self, service: Service, pair: Callable[[], Pair], clients: int, pause: float
    ) -> None:
        self._service = service
        self._pair = pair
        self._pause = pause
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._ask, args=(number,), daemon=True)
            for number in range(clients)
        ]
        # How many requests each client has begun.
        self._begun = [0] * clients
        self.statuses: Counter[int] = Counter()
        self.broken = 0
        # By key, the start of the last request that was answered with 200.
        self.last_good: dict[str, float] = {}
        self._answers: list[Answer] = []

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"

    def statuses_between(self, start: float, end: float) -> set[int]:
        """The answers to the requests that began and ended between two times."""
        with self._lock:
            return {
                answer.status
                for answer in self._answers
                if start <= answer.began and answer.ended <= end
            }

    def await_others(self) -> None:
        """Return when each client has begun another request, and so ended the previous one."""
        before = list(self._begun)
        wait_until(
            lambda: all(now > then for now, then in zip(self._begun, before, strict=True)),
            "other requests",
        )

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())

    def _ask(self, number: int) -> None:
        while not self._stop.wait(self._pause):
            self._begun[number] += 1
            pair = self._pair()
            began = time.monotonic()
            try:
                status = self._service.get("/v1/account", pair.bearer).status
            except (OSError, HTTPException):
                with self._lock:
                    self.broken += 1
                continue
            with self._lock:
                self.statuses[status] += 1
                self._answers.append(Answer(began, time.monotonic(), status))
                if status == 200:
                    known = self.last_good.get(pair.api_key, 0.0)
                    self.last_good[pair.api_key] = max(known, began)


@contextmanager
def under_load(
    service: Service, pair: Callable[[], Pair], clients: int = 3, pause: float = 0.0
) -> Iterator[Load]:
    """Clients that send requests during the block, ``pause`` seconds apart."""
    load = Load(service, pair, clients, pause)
    load.start()
    try:
        yield load
    finally:
        load.stop()
