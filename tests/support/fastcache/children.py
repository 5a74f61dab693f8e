"""Forked child processes of a test: each runs one function and is always ended."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable


class Child:
    """A forked process that runs `work` and exits 0, or 1 with a traceback."""

    def __init__(self, work: Callable[[], object]) -> None:
        sys.stderr.flush()
        with warnings.catch_warnings():
            # The other threads belong to the test runner; the child does not need them.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        self.status: int | None = None
        if self.pid == 0:
            status = 1
            try:
                work()
                status = 0
            except BaseException:  # noqa: BLE001 - it must never return into the test
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(status)

    def wait(self) -> int:
        """The exit status; negative for the number of the signal that ended it."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def kill(self) -> None:
        """Kill it by SIGKILL, and wait until it has ended."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def stop(self) -> None:
        """Stop it by SIGSTOP, and wait until it has stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def go_on(self) -> None:
        """Continue a stopped process."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()


def all_end_well(children: Iterable[Child]) -> None:
    """Wait for all children; none may have failed."""
    statuses = [child.wait() for child in children]
    assert statuses == [0] * len(statuses)


class Gate:
    """A gate at which children wait until the test opens it."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def wait(self) -> None:
        """In a child: wait until the gate is open."""
        os.close(self._write)
        os.read(self._read, 1)

    def open(self) -> None:
        """In the test: open it, once, after starting the children."""
        os.close(self._write)
        os.close(self._read)


class Signal:
    """One message from a child to the test."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def send(self, word: bytes = b"!") -> None:
        """Send it, in the child."""
        os.write(self._write, word)

    def receive(self) -> bytes:
        """Receive it, in the test; empty if the child ended without sending one."""
        os.close(self._write)
        word = os.read(self._read, 1024)
        os.close(self._read)
        return word
