"""Damage to shared memory, and child processes that must survive it."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable

from tests.support.fastcache.children import Child

SEED = 20261129


def survives(work: Callable[[], object], seconds: int = 100) -> None:
    """Run `work` in a child process, which an alarm ends if it hangs."""

    def bounded() -> None:
        # pytest-timeout has its own handler in the parent.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)
        work()

    assert Child(bounded).wait() == 0


def damage(memory: memoryview, chosen: random.Random, first: int = 0) -> None:
    """Change one byte, one word, or a run of bytes from `first` on."""
    kind = chosen.randrange(4)
    if kind == 0:
        memory[chosen.randrange(first, len(memory))] ^= 1 << chosen.randrange(8)
    elif kind == 1:
        memory[chosen.randrange(first, len(memory))] = chosen.randrange(256)
    elif kind == 2:
        at = chosen.randrange(first // 8, len(memory) // 8) * 8
        content = chosen.choice([bytes(8), b"\xff" * 8, b"\x7f" * 8, chosen.randbytes(8)])
        memory[at : at + 8] = content
    else:
        at = chosen.randrange(first, len(memory))
        end = min(len(memory), at + chosen.randrange(200))
        memory[at:end] = chosen.randbytes(end - at)
