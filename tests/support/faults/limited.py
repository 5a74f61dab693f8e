"""Limited keys of a running service, and clients that spend as much as they are allowed to."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from bisect import insort
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any, NamedTuple
from unittest.mock import patch

import click

from latchkey.credentials.audit import Actor
from latchkey.credentials.limits import Limit, limit_of_json
from tests.support.faults.service_processes import wait_until
from tests.support.service import Answer, Pair, Service

PATH = "/v1/account"
OPERATOR = Actor.command_line("tests")


@contextmanager
def operating(service: Service) -> Iterator[Any]:
    """What a command of the operator works with, in this process: ``cli.session.Session``."""
    from latchkey_service.cli.session import changing

    with (
        patch.dict(os.environ, service.environment(), clear=True),
        contextlib.chdir(service.directory),
        click.Context(click.Command("tests")),
        changing() as session,
    ):
        yield session


def limited_key(service: Service, *limits: dict[str, Any], **terms: Any) -> Pair:
    """A new key with these limits."""
    with operating(service) as session:
        issued = session.credentials.issue(
            caller=None, by=OPERATOR, name="limited", limits=limits_of(*limits), **terms
        )
    return Pair(issued.credential.api_key, issued.secret)


def limits_of(*limits: dict[str, Any]) -> tuple[Limit, ...]:
    """Limits in the form of the API."""
    return tuple(limit_of_json({"name": "default", **limit}) for limit in limits)


class Seen(NamedTuple):
    """An answer. The times are nanoseconds of the clock that rates are counted by."""

    began: int
    ended: int
    answer: Answer

    @property
    def admitted(self) -> bool:
        return self.answer.status != 429


class Senders:
    """Clients that send one request after another on connections that stay open.

    ``seen`` are the answers. ``broken`` counts the requests without an answer, which may have been
    admitted. A request that cannot be sent is neither.
    """

    def __init__(self, service: Service, pair: Pair, clients: int, path: str) -> None:
        self._service = service
        self._headers = pair.bearer
        self._path = path
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(clients)]
        self.seen: list[Seen] = []
        self.broken = 0

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive(), "a client hangs"

    @property
    def admitted(self) -> int:
        """How many requests were admitted."""
        with self._lock:
            return sum(one.admitted for one in self.seen)

    @property
    def statuses(self) -> Counter[int]:
        with self._lock:
            return Counter(one.answer.status for one in self.seen)

    def await_more(self, count: int) -> None:
        """Wait for this many further answers."""
        wanted = len(self.seen) + count
        wait_until(lambda: len(self.seen) >= wanted, f"{count} further answers")

    def await_refusals(self, count: int = 30) -> None:
        """Wait until so many answers in turn are refusals."""

        def are_refused() -> bool:
            with self._lock:
                last = self.seen[-count:]
            return len(last) == count and not any(one.admitted for one in last)

        wait_until(are_refused, "refusals")

    def _send(self) -> None:
        connection = self._service.connection(60)
        try:
            while not self._stop.is_set():
                try:
                    if connection.sock is None:
                        connection.connect()
                except OSError:
                    self._stop.wait(0.02)
                    continue
                began = _now()
                try:
                    connection.request("GET", self._path, headers=self._headers)
                    response = connection.getresponse()
                    named = {name.lower(): value for name, value in response.getheaders()}
                    answer = Answer(response.status, named, response.read())
                except (OSError, HTTPException):
                    connection.close()
                    with self._lock:
                        self.broken += 1
                    continue
                with self._lock:
                    self.seen.append(Seen(began, _now(), answer))
        finally:
            connection.close()


@contextmanager
def sending(service: Service, pair: Pair, clients: int = 8, path: str = PATH) -> Iterator[Senders]:
    """Clients that send requests of a key during the block."""
    senders = Senders(service, pair, clients, path)
    senders.start()
    try:
        yield senders
    finally:
        senders.stop()


def assert_within_rate(seen: list[Seen], interval: int, burst: int) -> None:
    """In no interval of time were more requests both sent and admitted than the rate allows.

    ``interval`` is in nanoseconds. An answer was decided between its two times, so the requests
    that lie in an interval completely were decided in it.
    """
    admitted = sorted((one for one in seen if one.admitted), key=lambda one: -one.began)
    ends: list[int] = []
    for one in admitted:
        insort(ends, one.ended)
        for units, end in enumerate(ends, 1):
            assert units <= burst + (end - one.began) // interval


def _now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
