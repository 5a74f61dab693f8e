"""What requests may be answered while keys change, and which answers were wrong."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from math import inf

from tests.support.boxes.asking import NO_ANSWER, NOT_SENT, Asked

GOOD, FORBIDDEN, REFUSED = 200, 403, 401
DECIDED = frozenset({GOOD, FORBIDDEN, REFUSED})
"""The answers of a worker that could decide about a key."""


@dataclass(slots=True)
class Change:
    """One change of a key: when its call began and was answered, and the status from then on.

    A change that was not answered may have happened at any time since it began.
    """

    began: float
    status: int
    ended: float = inf


@dataclass(slots=True)
class History:
    """The changes of one key in their order, and the answers to the requests that presented it."""

    first: int = GOOD
    changes: list[Change] = field(default_factory=list)
    answers: list[tuple[float, float, int]] = field(default_factory=list)

    def allowed(self, began: float, ended: float) -> set[int]:
        """The statuses by which a request may be decided that began and ended at these times."""
        allowed = {self.first}
        for change in self.changes:
            if change.ended <= began:
                allowed = {change.status}
            elif change.began < ended:
                allowed.add(change.status)
        return allowed

    def wrong(self) -> list[tuple[float, float, int]]:
        """The answers that decided otherwise: a late 200, or a refusal of a valid key."""
        return [
            (began, ended, status)
            for began, ended, status in self.answers
            if status in DECIDED and status not in self.allowed(began, ended)
        ]


class Histories:
    """The histories of all keys of a test; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_key: dict[str, History] = {}

    def of(self, api_key: str) -> History:
        """The history of a key, which begins as a valid one."""
        with self._lock:
            return self._by_key.setdefault(api_key, History())

    def note(self, api_key: str, asked: Asked) -> None:
        """Add the answer to a request that presented the key."""
        self.of(api_key).answers.append((asked.began, asked.ended, asked.status))

    def late(self) -> list[str]:
        """Each 200 to a request that began after the answer to the call that ended the key."""
        return self._wrong(frozenset({GOOD}))

    def refused_wrongly(self) -> list[str]:
        """Each refusal of a key that was valid at the time."""
        return self._wrong(DECIDED - {GOOD})

    def undecided(self) -> Counter[int]:
        """How many requests were answered with anything else, by status."""
        with self._lock:
            histories = list(self._by_key.values())
        return Counter(
            status for one in histories for _, _, status in one.answers if status not in DECIDED
        )

    def count(self) -> int:
        """How many requests were answered."""
        with self._lock:
            histories = list(self._by_key.values())
        return sum(
            status not in {NO_ANSWER, NOT_SENT} for one in histories for _, _, status in one.answers
        )

    def _wrong(self, statuses: frozenset[int]) -> list[str]:
        with self._lock:
            histories = dict(self._by_key)
        return [
            f"{api_key}: {status} to a request from {began:.6f} to {ended:.6f} after {one.changes}"
            for api_key, one in histories.items()
            for began, ended, status in one.wrong()
            if status in statuses
        ]
