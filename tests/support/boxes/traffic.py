"""Clients that constantly present the keys of a test to every worker of every box."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.support.boxes.asking import Asked, Client, request
from tests.support.boxes.box import Box
from tests.support.boxes.histories import DECIDED, Histories
from tests.support.faults.service_processes import wait_until
from tests.support.service import Pair

# A client whose request takes longer than this is not waited for: its worker may be stopped.
_HANGS_AFTER = 0.3
# Between two rounds over the keys, so that the clients leave time to the services.
_PAUSE = 0.01


class Watcher:
    """One client, connected to one worker at first, that presents each key in turn."""

    def __init__(self, name: str, client: Client, traffic: Traffic) -> None:
        self.name = name
        self._client = client
        self._traffic = traffic
        self._asking_since: float | None = None
        # By key: the last answer that it got.
        self.last: dict[str, Asked] = {}
        self.thread = threading.Thread(target=self._run, daemon=True)

    @property
    def hangs(self) -> bool:
        """Whether it has waited for an answer longer than a healthy worker needs."""
        since = self._asking_since
        return since is not None and time.monotonic() - since > _HANGS_AFTER

    def has_answer(self, api_key: str, status: int, since: float) -> bool:
        """Whether a request for the key that began at ``since`` or later was answered so."""
        asked = self.last.get(api_key)
        return asked is not None and asked.began >= since and asked.status == status

    def cannot_decide(self, api_key: str, since: float) -> bool:
        """Whether its worker is cut off or stopped, so that no other answer can be expected."""
        asked = self.last.get(api_key)
        return self.hangs or (
            asked is not None and asked.began >= since and asked.status not in DECIDED
        )

    def _run(self) -> None:
        try:
            while not self._traffic.is_over.is_set():
                for pair in self._traffic.shown():
                    self._ask(pair)
                self._traffic.is_over.wait(_PAUSE)
        finally:
            self._client.close()

    def _ask(self, pair: Pair) -> None:
        self._asking_since = time.monotonic()
        asked = self._client.ask(request("GET", "/v1/account", pair))
        self._asking_since = None
        self._traffic.histories.note(pair.api_key, asked)
        self.last[pair.api_key] = asked


class Traffic:
    """The clients of all boxes, and the keys that they present.

    ``beacon`` is a key that is valid all the time.
    """

    def __init__(self, boxes: Sequence[Box], beacon: Pair, timeout: float) -> None:
        self.histories = Histories()
        self.beacon = beacon
        self.is_over = threading.Event()
        self._lock = threading.Lock()
        self._shown: dict[str, Pair] = {beacon.api_key: beacon}
        self.watchers = {
            box: [
                Watcher(f"{box.directory.name}.{number}", client, self)
                for number, client in enumerate(box.clients(timeout))
            ]
            for box in boxes
        }

    @property
    def everybody(self) -> list[Watcher]:
        return [watcher for watchers in self.watchers.values() for watcher in watchers]

    def shown(self) -> list[Pair]:
        with self._lock:
            return list(self._shown.values())

    def show(self, pair: Pair) -> None:
        """Present this key from now on."""
        with self._lock:
            self._shown[pair.api_key] = pair

    def hide(self, pair: Pair) -> None:
        """No longer present this key."""
        with self._lock:
            self._shown.pop(pair.api_key, None)

    def await_answers(self, pair: Pair, status: int, *, healthy: bool = False) -> None:
        """Wait until each client got this answer to a request that began after this call.

        Clients of workers that cannot decide are left out, unless all must be ``healthy``.
        """
        since = time.monotonic()
        for watcher in self.everybody:
            wait_until(
                lambda watcher=watcher: (  # type: ignore[misc]
                    watcher.has_answer(pair.api_key, status, since)
                    or (not healthy and watcher.cannot_decide(pair.api_key, since))
                ),
                f"{status} from {watcher.name}, which last had {watcher.last.get(pair.api_key)}",
                pause=0.005,
            )

    def start(self) -> None:
        for watcher in self.everybody:
            watcher.thread.start()

    def stop(self) -> None:
        self.is_over.set()
        for watcher in self.everybody:
            watcher.thread.join(90)
            assert not watcher.thread.is_alive(), f"{watcher.name} hangs"


@contextmanager
def traffic_to(boxes: Sequence[Box], beacon: Pair, timeout: float = 60.0) -> Iterator[Traffic]:
    """Clients for every worker of every box during the block; ``timeout`` is that of a request."""
    traffic = Traffic(boxes, beacon, timeout)
    traffic.start()
    try:
        yield traffic
    finally:
        traffic.stop()
