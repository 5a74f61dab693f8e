"""Child processes of a test, by fork: each runs one function and is never left behind."""

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
            # Other threads are those of the test runner, which the child does not use.
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
        """The exit status; less than zero for the signal that ended it."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def kill(self) -> None:
        """End it by SIGKILL, and wait until it has ended."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def stop(self) -> None:
        """Stop it by SIGSTOP, and wait until it has stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def go_on(self) -> None:
        """Let a stopped one go on."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()


def all_end_well(children: Iterable[Child]) -> None:
    """Wait for all; none may have failed."""
    statuses = [child.wait() for child in children]
    assert statuses == [0] * len(statuses)


class Gate:
    """What children wait at until the test opens it, all at once."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def wait(self) -> None:
        """In a child: until the gate is open."""
        os.close(self._write)
        os.read(self._read, 1)

    def open(self) -> None:
        """In the test: once, when the children have been started."""
        os.close(self._write)
        os.close(self._read)


class Signal:
    """One word from a child to the test, at a point that it has reached."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def send(self, word: bytes = b"!") -> None:
        """In the child."""
        os.write(self._write, word)

    def receive(self) -> bytes:
        """In the test: the word, or nothing where the child ended without one."""
        os.close(self._write)
        word = os.read(self._read, 1024)
        os.close(self._read)
        return word
