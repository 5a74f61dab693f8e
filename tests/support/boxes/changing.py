"""Changes of keys at random boxes, each noted in the history of its key."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle

from tests.support.boxes.asking import NO_ANSWER, NOT_SENT, Asked, Client, request
from tests.support.boxes.box import Box
from tests.support.boxes.histories import FORBIDDEN, GOOD, REFUSED, Change
from tests.support.boxes.traffic import Traffic
from tests.support.service import Pair

_FAILED = frozenset({NOT_SENT, NO_ANSWER, 500, 503})
_SEEN, _HIDDEN = ["account:read"], ["credentials:read"]
# After the refusal of a change, or a change that was answered with an error.
_RETRY_AFTER = 0.1
# The keys of the last changes are presented on, so that a box that returns late is seen.
_SHOWN_ON = 4


@dataclass
class Office:
    """The key that makes the changes, and what the changes of all threads amounted to."""

    issuer: Pair
    boxes: Sequence[Box]
    traffic: Traffic
    # The boxes that are asked for changes: a test may leave one out.
    asked: list[Box] = field(default_factory=list)
    made: int = 0
    longest: float = 0.0
    refused: Counter[int] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.asked = list(self.boxes)


class Unanswered(Exception):
    """A change was not answered, and may still be made later."""


class Changer:
    """Changes the keys of one account after each other, and the account; one thread uses it."""

    def __init__(self, office: Office, seed: int) -> None:
        self._office = office
        self._random = random.Random(seed)
        self._clients = {box: Client(box.place) for box in office.boxes}
        self._old: list[Pair] = []
        self._account = ""
        self._pair = Pair("", "")
        self._steps: Iterator[Callable[[], None]] = cycle(
            [
                *(self._disable, self._enable, self._narrow, self._widen),
                *(self._disable_account, self._enable_account, self._rotate),
                *(self._disable, self._enable, self._revoke),
            ]
        )

    def prepare(self) -> None:
        """Create the account, and its first key."""
        body = {"name": f"customer {secrets.token_hex(4)}"}
        self._account = self._created("/v1/accounts", body)["id"]
        self._issue()

    def change(self) -> None:
        """Make one change, when every worker that responds has cached the key."""
        try:
            next(self._steps)()
        except Unanswered:
            # The request may still reach a worker. A revocation is final whatever comes later.
            self._revoke()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    # ---- the changes

    def _disable(self) -> None:
        self._patch(REFUSED, enabled=False)

    def _enable(self) -> None:
        self._patch(GOOD, enabled=True)

    def _narrow(self) -> None:
        self._patch(FORBIDDEN, scopes=_HIDDEN)

    def _widen(self) -> None:
        self._patch(GOOD, scopes=_SEEN)

    def _disable_account(self) -> None:
        self._make(REFUSED, "PATCH", f"/v1/accounts/{self._account}", {"status": "disabled"})

    def _enable_account(self) -> None:
        self._make(GOOD, "PATCH", f"/v1/accounts/{self._account}", {"status": "active"})

    def _rotate(self) -> None:
        name = secrets.token_hex(8)
        path = f"/v1/api_keys/{self._pair.api_key}/rotate"
        done = self._make(
            REFUSED, "POST", path, {"overlap_seconds": 0}, {201, 409}, Idempotency_Key=name
        )
        if done.status == 201:
            self._take(Pair(done.json["api_key"], done.json["api_secret"]))
        else:
            # Made by an attempt that was answered with an error: its secret is not shown again.
            self._issue()

    def _revoke(self) -> None:
        self._make(
            REFUSED, "DELETE", f"/v1/api_keys/{self._pair.api_key}", None, {200, 404}, again=True
        )
        # An account may still be disabled by a request that was not answered.
        self.prepare()

    def _patch(self, status: int, **terms: object) -> None:
        self._make(status, "PATCH", f"/v1/api_keys/{self._pair.api_key}", terms)

    def _make(
        self,
        status: int,
        method: str,
        path: str,
        body: object,
        good: frozenset[int] | set[int] = frozenset({200}),
        *,
        again: bool = False,
        **headers: str,
    ) -> Asked:
        """Make a change after which requests get ``status``; repeat it until it is answered.

        Raises Unanswered, unless the change may be made ``again`` after no answer.
        """
        office = self._office
        history = office.traffic.histories.of(self._pair.api_key)
        before = history.changes[-1].status if history.changes else history.first
        if not again:
            office.traffic.await_answers(self._pair, before)
        change = Change(time.monotonic(), status)
        history.changes.append(change)
        while True:
            asked = self._ask(request(method, path, office.issuer, body, **headers))
            with office.lock:
                office.longest = max(office.longest, asked.ended - asked.began)
                if asked.status in good:
                    change.ended = asked.ended
                    office.made += 1
                    return asked
                office.refused[asked.status] += 1
            assert asked.status in _FAILED, asked
            if asked.status == NO_ANSWER and not again:
                raise Unanswered
            time.sleep(_RETRY_AFTER)

    # ---- new keys

    def _issue(self) -> None:
        body = {"name": "test", "account": self._account, "scopes": _SEEN}
        made = self._created("/v1/api_keys", body)
        self._take(Pair(made["api_key"], made["api_secret"]))

    def _take(self, pair: Pair) -> None:
        if self._pair.api_key:
            self._old.append(self._pair)
        while len(self._old) > _SHOWN_ON:
            self._office.traffic.hide(self._old.pop(0))
        self._pair = pair
        self._office.traffic.show(pair)

    def _created(self, path: str, body: object) -> dict[str, str]:
        while True:
            asked = self._ask(request("POST", path, self._office.issuer, body))
            if asked.status == 201:
                return dict(asked.json)
            assert asked.status in _FAILED, asked
            with self._office.lock:
                self._office.refused[asked.status] += 1
            time.sleep(_RETRY_AFTER)

    def _ask(self, data: bytes) -> Asked:
        return self._clients[self._random.choice(self._office.asked)].ask(data)


class Changers:
    """Threads that make changes until there are enough."""

    def __init__(self, office: Office, count: int) -> None:
        self._office = office
        self._changers = [Changer(office, seed) for seed in range(count)]
        self._is_over = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(changer,), daemon=True)
            for changer in self._changers
        ]

    def start(self) -> None:
        for changer in self._changers:
            changer.prepare()
        for thread in self._threads:
            thread.start()

    def await_more(self, count: int, timeout: float) -> None:
        """Wait for ``count`` more changes; ``timeout`` in seconds is only to end a failing test."""
        wanted = self._office.made + count
        deadline = time.monotonic() + timeout
        while self._office.made < wanted:
            self._check()
            assert time.monotonic() < deadline, f"{wanted - self._office.made} changes are missing"
            time.sleep(0.01)

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive(), "a change hangs"
        for changer in self._changers:
            changer.close()

    def _check(self) -> None:
        for error in self._errors:
            raise error

    def _run(self, changer: Changer) -> None:
        try:
            while not self._is_over.is_set():
                changer.change()
        except BaseException as error:  # noqa: BLE001 - raised in the thread of the test
            self._errors.append(error)


@contextmanager
def changing(office: Office, count: int = 3) -> Iterator[Changers]:
    """Threads that make changes during the block."""
    changers = Changers(office, count)
    changers.start()
    try:
        yield changers
    finally:
        changers.stop()
    changers._check()
