"""A check and a change of its account, run in any order of their steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import partial
from itertools import combinations_with_replacement
from typing import Any

from latchkey.box.shared import SharedState, Word
from latchkey.check.authenticator import Authenticator
from latchkey.check.cache_levels import Backend
from latchkey.credentials.conditions import Conditions
from latchkey.credentials.derivation import DerivationKey, DerivationKeys
from latchkey.credentials.kinds import Sources
from latchkey.credentials.models import Principal, Verifier
from latchkey.credentials.tokens import hash_secret
from latchkey.errors import DisabledCredential
from tests.support.auth.shared_box import through
from tests.support.auth.worker import derive, presented

KEYS = DerivationKeys([DerivationKey(b"1" * 32)], [])
SECRET = derive(KEYS.newest)
ACCOUNT = "acct_0000000000000000000000"
MOST_STEPS = 14
"""More steps than a check takes."""

Step = Callable[[], None]


class Stepping:
    """Shared state whose reads call ``step`` first; the compiled check reads the words directly."""

    def __init__(self, shared: SharedState, step: Step) -> None:
        self._stripes, self._words, self._step = shared.stripes, shared.words, step

    def generation(self, key: str) -> int:
        self._step()
        return self._stripes.generation(key)

    def value(self, word: Word) -> int:
        self._step()
        return self._words.value(word)


class Recorder:
    """Shared state whose changes become steps, to be taken later."""

    def __init__(self, shared: SharedState) -> None:
        self._stripes, self._words = shared.stripes, shared.words
        self.steps: list[Step] = []

    def invalidate(self, key: str) -> None:
        self.steps.append(partial(self._stripes.invalidate, key))

    def add(self, word: Word) -> None:
        self.steps.append(partial(self._words.add, word))


class Scene:
    """One key, its row, and a worker that reads both step by step.

    ``schedule`` has for each step of the change the number of steps of the check that precede it.
    """

    def __init__(self, backend: Backend, enabled: bool) -> None:
        self.enabled = enabled
        self.shared = SharedState.private()
        self.stepping = False
        self.taken = 0
        self.waiting: list[tuple[int, Step]] = []
        watched = copy(self.shared)
        reads: Any = Stepping(self.shared, self.step)
        watched.stripes = watched.words = reads
        self.authenticator = Authenticator(Sources(KEYS, self.find), watched, backend=backend)
        # The compiled check needs the words themselves.
        watched.stripes, watched.words = self.shared.stripes, self.shared.words

    def step(self) -> None:
        """Called before each step of the check: the change's steps that are due come first."""
        if self.stepping:
            while self.waiting and self.waiting[0][0] <= self.taken:
                self.waiting.pop(0)[1]()
            self.taken += 1

    def find(self, key: str) -> Verifier:
        self.step()
        principal = Principal(1, ACCOUNT, key, "live", None, frozenset({"*"}), None)
        conditions = Conditions(enabled=self.enabled)
        return Verifier(hash_secret(SECRET), False, principal, conditions)

    def outcome(self) -> bool:
        """Whether a check in Python admits the key."""
        try:
            self.authenticator.authenticate(presented(SECRET))
        except DisabledCredential:
            return False
        return True

    def compiled_outcome(self) -> bool:
        """Whether the middleware admits it."""
        return through(self, SECRET) == "ok"  # type: ignore[arg-type]

    def commit(self) -> None:
        self.enabled = not self.enabled

    def publication(self) -> list[Step]:
        """The steps of ``SharedState.invalidate`` for the account, in its order."""
        recorder: Any = Recorder(self.shared)
        recorded = copy(self.shared)
        recorded.stripes = recorded.words = recorder
        recorded.invalidate(ACCOUNT)
        steps: list[Step] = recorder.steps
        return steps

    def run(self, schedule: Sequence[int], steps: Sequence[Step]) -> tuple[bool, bool]:
        """Check once while the steps are taken; whether that check, and any later one, was right.

        The first check may have either outcome if it overlaps the change.
        """
        before = self.enabled
        self.waiting = list(zip(schedule, steps, strict=True))
        self.stepping, self.taken = True, 0
        first = self.outcome()
        self.stepping = False
        assert self.taken < MOST_STEPS
        was_over = not any(place > 0 for place in schedule)
        for _, rest in self.waiting:
            rest()
        assert self.enabled != before
        right = first == self.enabled or not was_over
        return right, self.compiled_outcome() == self.outcome() == self.enabled


def schedules(steps: int) -> Iterator[tuple[int, ...]]:
    return combinations_with_replacement(range(MOST_STEPS), steps)


def faults(
    backend: Backend, enabled: bool, cached: bool, order: Callable[[Scene], Sequence[Step]]
) -> list[tuple[int, ...]]:
    """The schedules under which an outcome is wrong after a change in this order of steps."""
    wrong = []
    for schedule in schedules(len(order(Scene(backend, enabled)))):
        scene = Scene(backend, enabled)
        if cached:
            scene.outcome()
        if scene.run(schedule, order(scene)) != (True, True):
            wrong.append(schedule)
    return wrong
