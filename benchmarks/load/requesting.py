"""What the clients of each scenario ask for, one request after another. Knows no Locust.

`Asker` is what they ask through; the locustfile makes one of Locust's client.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, cycle
from typing import Literal, Protocol

from benchmarks.load.credentials import api_key_of
from benchmarks.load.paths import BARE, OPEN, OPEN_TOO, PROTECTED, TRIVIAL
from benchmarks.load.recording import Recorder

Scenario = Literal[
    "twins", "alike", "trivial", "hits", "uniform", "misses", "forged", "revocations", "mixed"
]
Secret = Callable[[int], str]
Headers = dict[str, str]

ACCOUNT = "/v1/account"
API_KEYS = "/v1/api_keys"
REVOCATION_PAUSE = 0.1
"""Seconds between two revocations."""
ZIPF_EXPONENT = 0.99

_DRAWS = 100_000
_IN_CIRCULATION = 32


class Asker(Protocol):
    """Sends one request, has it noted under `kind`, and returns the answer's status, 0 for none."""

    def __call__(
        self, method: str, path: str, kind: str, headers: Headers, expected: Collection[int]
    ) -> int: ...


@dataclass
class Credentials:
    """The numbers that a scenario may present, and how to make what belongs to them."""

    count: int
    """Those in steady use are the numbers below this one."""
    fresh: range
    """Those that are presented once, or used until they are revoked."""
    secret: Secret
    forged: Secret


class Requests:
    """One process's clients. ``send`` is called by each of them in turn, again and again."""

    def __init__(
        self, scenario: Scenario, credentials: Credentials, recorder: Recorder, seed: int
    ) -> None:
        self._rng = random.Random(seed)
        self._credentials = credentials
        self._recorder = recorder
        self._known = [_bearer(credentials.secret(each)) for each in range(credentials.count)]
        self._fresh = iter(credentials.fresh)
        self._drawn = self._draws(zipf=scenario != "uniform")
        # Credentials that every client uses until they are revoked, those that one of them is
        # revoking or has revoked, and those whose revocation has been answered, and when.
        self._circulating: deque[int] = deque()
        self._condemned: set[int] = set()
        self._revoked: dict[int, float] = {}
        self._next_revocation = 0.0
        self._send: Mapping[Scenario, Callable[[Asker], None]] = {
            "twins": self._arms(OPEN, PROTECTED, BARE),
            "alike": self._arms(OPEN, OPEN_TOO),
            "trivial": self._arms(TRIVIAL),
            "hits": self._hit,
            "uniform": self._hit,
            "misses": self._miss,
            "forged": self._forge,
            "revocations": self._revoke_and_use,
            "mixed": self._mix,
        }
        self.send = self._send[scenario]

    def _draws(self, *, zipf: bool) -> Iterator[Headers]:
        """Headers of credentials in use, by Zipf's law or with equal chances."""
        count = self._credentials.count
        weights = [1 / (rank + 1) ** (ZIPF_EXPONENT if zipf else 0) for rank in range(count)]
        drawn = self._rng.choices(self._known, cum_weights=list(accumulate(weights)), k=_DRAWS)
        return cycle(drawn)

    def _arms(self, *paths: str) -> Callable[[Asker], None]:
        """Each request takes one of the paths at random; all carry the same kind of headers."""

        def send(ask: Asker) -> None:
            path = paths[int(self._rng.random() * len(paths))]
            ask("GET", path, path, next(self._drawn), (200,))

        return send

    def _hit(self, ask: Asker) -> None:
        ask("GET", ACCOUNT, "hit", next(self._drawn), (200,))

    def _miss(self, ask: Asker) -> None:
        """A credential that was never presented before."""
        headers = _bearer(self._credentials.secret(self._next_fresh()))
        ask("GET", ACCOUNT, "miss", headers, (200,))

    def _next_fresh(self) -> int:
        try:
            return next(self._fresh)
        except StopIteration:
            raise OutOfCredentials from None

    def _forge(self, ask: Asker) -> None:
        """Forged and good in turn at random; a forged one for a key that is in use."""
        if self._rng.random() < 0.5:
            self._hit(ask)
            return
        number = int(self._rng.random() * self._credentials.count)
        headers = _bearer(self._credentials.forged(number))
        ask("GET", ACCOUNT, "forged", headers, (401,))

    def _revoke_and_use(self, ask: Asker) -> None:
        """Use credentials; now and then, one of the clients revokes one that all of them use."""
        now = time.monotonic()
        if now >= self._next_revocation:
            self._next_revocation = now + REVOCATION_PAUSE
            self._revoke(ask)
        elif self._rng.random() < 0.5:
            self._hit(ask)
        elif self._revoked and self._rng.random() < 0.5:
            self._present(ask, self._rng.choice(list(self._revoked)[-_IN_CIRCULATION:]))
        else:
            self._present(ask, self._rng.choice(self._circulating))

    def _revoke(self, ask: Asker) -> None:
        """Revoke what has been in circulation longest: the workers have it in their caches."""
        while len(self._circulating) < _IN_CIRCULATION:
            self._circulating.append(self._next_fresh())
        number = self._circulating.popleft()
        self._condemned.add(number)
        path = f"{API_KEYS}/{api_key_of(number)}"
        if ask("DELETE", path, "revocation", next(self._drawn), (200,)) == 200:
            self._recorder.recording.revocations += 1
            self._revoked[number] = time.monotonic()
            self._present(ask, number)

    def _present(self, ask: Asker, number: int) -> None:
        """Present a credential that may have been revoked, or be so before it is looked up."""
        begun = time.monotonic()
        ended = number in self._revoked
        headers = _bearer(self._credentials.secret(number))
        status = ask(
            "GET", ACCOUNT, "revoked" if ended else "hit", headers, (401,) if ended else (200, 401)
        )
        if status == 401 and number not in self._condemned:
            self._recorder.recording.add_error("hit: 401 before its revocation")
        if status == 200 and self._revoked.get(number, begun) < begun:
            self._recorder.recording.violations += 1

    def _mix(self, ask: Asker) -> None:
        """What a service meets in a day: most are good, some forged, now and then a revocation."""
        draw = self._rng.random()
        if draw < 0.05:
            self._forge(ask)
        elif draw < 0.9:
            self._hit(ask)
        else:
            self._revoke_and_use(ask)


class OutOfCredentials(Exception):
    """Every credential that may be presented once has been."""


def _bearer(secret: str) -> Headers:
    return {"Authorization": f"Bearer {secret}"}
