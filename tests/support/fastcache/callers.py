"""Calls in other threads, one or several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable


def elsewhere(call: Callable[[], object]) -> None:
    """Make a call in another thread and wait until it ends."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def at_once(function: Callable[[], object], callers: int = 4) -> list[object]:
    """Call a function from several threads at once; returns the results and the errors."""
    results: list[object] = []

    def call() -> None:
        try:
            results.append(function())
        except Exception as error:  # noqa: BLE001 - the result
            results.append(error)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results
