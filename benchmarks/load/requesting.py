"""The sequence of requests of each scenario, independent of Locust.

Requests are sent by an `Asker`; the locustfile creates one from Locust's client.
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
    """Sends a request, records it under `kind`, and returns the status of the answer (0: none)."""

    def __call__(
        self, method: str, path: str, kind: str, headers: Headers, expected: Collection[int]
    ) -> int: ...


@dataclass
class Credentials:
    """The numbers of a scenario's credentials, and how to derive their keys and secrets."""

    count: int
    """Credentials below this number are in regular use."""
    fresh: range
    """Credentials that are presented once, or used until they are revoked."""
    secret: Secret
    forged: Secret


class Requests:
    """The clients of one process. Each client calls ``send`` repeatedly."""

    def __init__(
        self, scenario: Scenario, credentials: Credentials, recorder: Recorder, seed: int
    ) -> None:
        self._rng = random.Random(seed)
        self._credentials = credentials
        self._recorder = recorder
        self._known = [_bearer(credentials.secret(each)) for each in range(credentials.count)]
        self._fresh = iter(credentials.fresh)
        self._drawn = self._draws(zipf=scenario != "uniform")
        # Credentials that all clients use until they are revoked; those that a client is revoking
        # or has revoked; and those whose revocation was answered, with the time.
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
        """Headers of credentials in use, by Zipf's law or with equal probability."""
        count = self._credentials.count
        weights = [1 / (rank + 1) ** (ZIPF_EXPONENT if zipf else 0) for rank in range(count)]
        drawn = self._rng.choices(self._known, cum_weights=list(accumulate(weights)), k=_DRAWS)
        return cycle(drawn)

    def _arms(self, *paths: str) -> Callable[[Asker], None]:
        """Each request uses one of the paths at random; all have the same kind of headers."""

        def send(ask: Asker) -> None:
            path = paths[int(self._rng.random() * len(paths))]
            ask("GET", path, path, next(self._drawn), (200,))

        return send

    def _hit(self, ask: Asker) -> None:
        ask("GET", ACCOUNT, "hit", next(self._drawn), (200,))

    def _miss(self, ask: Asker) -> None:
        """Present a credential that was never presented before."""
        headers = _bearer(self._credentials.secret(self._next_fresh()))
        ask("GET", ACCOUNT, "miss", headers, (200,))

    def _next_fresh(self) -> int:
        try:
            return next(self._fresh)
        except StopIteration:
            raise OutOfCredentials from None

    def _forge(self, ask: Asker) -> None:
        """Present forged and valid secrets at random; forged ones are for keys in use."""
        if self._rng.random() < 0.5:
            self._hit(ask)
            return
        number = int(self._rng.random() * self._credentials.count)
        headers = _bearer(self._credentials.forged(number))
        ask("GET", ACCOUNT, "forged", headers, (401,))

    def _revoke_and_use(self, ask: Asker) -> None:
        """Use credentials; from time to time, one client revokes a credential that all use."""
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
        """Revoke the credential that has been used longest: all workers have cached it."""
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
        """Present a credential that may be revoked before or during the request."""
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
        """A realistic mixture: most secrets are valid, some are forged, revocations are rare."""
        draw = self._rng.random()
        if draw < 0.05:
            self._forge(ask)
        elif draw < 0.9:
            self._hit(ask)
        else:
            self._revoke_and_use(ask)


class OutOfCredentials(Exception):
    """All credentials that may be presented once have been presented."""


def _bearer(secret: str) -> Headers:
    return {"Authorization": f"Bearer {secret}"}
